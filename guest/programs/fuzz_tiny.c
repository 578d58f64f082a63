/*
 * A small program to fuzz: it reads a file and looks at its bytes one after the other.
 *
 *     fuzz_tiny FILE
 */
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char bytes[256];
	int fd = argc > 1 ? open(argv[1], O_RDONLY) : 0, words = 0, inside = 0;
	long size;

	if (fd < 0)
		return 2;
	size = read(fd, bytes, sizeof bytes);
	for (long i = 0; i < size; i++) {
		if (bytes[i] == ' ' || bytes[i] == '\n') {
			inside = 0;
		} else if (!inside) {
			inside = 1;
			words++;
		}
	}
	return words & 1;
}
