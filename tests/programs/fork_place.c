/* process() comes after the input was read in one way or another (argv[1]); the exit status is the input's length. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char data[64];
static int fd, length;

__attribute__((noinline)) int fill(void)
{
	length = read(fd, data, sizeof data);
	return length;
}

__attribute__((noinline)) int process(const char *way)
{
	if (!strcmp(way, "open") || !strcmp(way, "size"))
		fill();
	return length;
}

int main(int argc, char **argv)
{
	const char *way = argv[1];
	struct stat status;

	while (!strcmp(way, "loop"))
		__asm__ volatile("");
	fd = argc > 2 ? open(argv[2], O_RDONLY) : 0;
	if (fd < 0)
		return 90;
	if (!strcmp(way, "read"))
		fill();
	if (!strcmp(way, "buffered"))
		length = fread(data, 1, sizeof data, fdopen(fd, "r"));
	if (!strcmp(way, "size") && fstat(fd, &status))
		return 91;
	if (!strcmp(way, "map")) {
		char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

		length = map == MAP_FAILED ? 92 : strlen(map);
	}
	if (!strcmp(way, "child")) {
		pid_t child = fork();

		if (!child)
			_exit(fill());
		waitpid(child, &length, 0);
		length = WEXITSTATUS(length);
	}
	return process(way);
}
