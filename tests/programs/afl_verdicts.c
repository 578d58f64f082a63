/*
 * A program to fuzz that ends in every way there is; the first byte of its input says how.
 *
 *     L loops, S sleeps, P waits for a pipe nobody writes, F makes a child that loops and waits for it, T the same with
 *     a thread, D leaves a child behind that sleeps, M takes all memory, A aborts, N writes to address 0, Q is killed by
 *     SIGKILL; a digit is the exit status.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int forever = 1;

static void *loop(void *unused)
{
	while (forever)
		;
	return unused;
}

int main(int argc, char **argv)
{
	FILE *file = argc > 1 ? fopen(argv[1], "r") : stdin;
	char how[2] = "";
	int ends[2];
	pthread_t thread;

	if (!file)
		return 100;
	if (fread(how, 1, 1, file) == 0)
		return 0;
	switch (how[0]) {
	case 'L':
		loop(NULL);
		break;
	case 'S':
		sleep(1000);
		break;
	case 'P':
		return pipe(ends) || read(ends[0], how, 1);
	case 'F':
		if (fork() == 0)
			loop(NULL);
		wait(NULL);
		break;
	case 'T':
		pthread_create(&thread, NULL, loop, NULL);
		pthread_join(thread, NULL);
		break;
	case 'D':
		if (fork() == 0)
			sleep(1000);
		return 4;
	case 'M':
		for (;;) {
			char *more = malloc(1 << 20);

			if (!more)
				return 5;
			memset(more, 1, 1 << 20);
		}
	case 'A':
		abort();
	case 'N':
		*(volatile int *)0 = 1;
		break;
	case 'Q':
		raise(SIGKILL);
		break;
	}
	return how[0] >= '0' && how[0] <= '9' ? how[0] - '0' : 0;
}
