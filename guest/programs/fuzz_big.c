/*
 * A program to fuzz that has much memory: it fills MIB megabytes first, as a database loads its pages, and reads the
 * file then. Each of the first bytes of the file changes one page, each under a page table of its own.
 *
 *     fuzz_big MIB FILE
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIB = 1 << 20, TABLE = 2 * MIB, MOST = 16 };

int main(int argc, char **argv)
{
	unsigned char bytes[MOST], *memory;
	size_t size;
	long count, sum = 0;
	int fd;

	if (argc < 3)
		return 2;
	size = strtoul(argv[1], NULL, 10) * MIB;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 2;
	memset(memory, 0x55, size);
	fd = open(argv[2], O_RDONLY);
	if (fd < 0)
		return 2;
	count = read(fd, bytes, sizeof bytes);
	for (long i = 0; i < count; i++) {
		unsigned char *place = memory + (size_t)i * TABLE % size + bytes[i] * 16;

		*place += bytes[i];
		sum += *place;
		if (bytes[i] == '!')
			sum *= 3;
	}
	return sum & 1;
}
