/* A program to fuzz that forks: a child for each line of its input. Exits with the number of lines that are numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_number(const char *text)
{
	int digits = 0;

	if (*text == '-' || *text == '+')
		text++;
	for (; *text >= '0' && *text <= '9'; text++)
		digits++;
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++)
			digits++;
	return digits && (*text == '\n' || !*text);
}

int main(int argc, char **argv)
{
	FILE *file = argc > 1 ? fopen(argv[1], "r") : stdin;
	char line[64];
	int numbers = 0, lines = 0, status;

	if (!file)
		return 100;
	while (lines++ < 4 && fgets(line, sizeof line, file)) {
		pid_t child = fork();

		if (child < 0)
			return 101;
		if (child == 0)
			_exit(is_number(line));
		waitpid(child, &status, 0);
		if (WIFSIGNALED(status))
			abort();
		numbers += WEXITSTATUS(status);
	}
	return numbers;
}
