/*
 * coverage_kinds CALLS KIND: does the same work CALLS times, in the process itself ('m'), in a thread ('t'), in a forked
 * child ('f'), or in a new program ('e': this one again, with 'm').
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) static void even(int n) { sink += n; }
__attribute__((noinline)) static void odd(int n) { sink ^= n; }

static void *work(void *argument)
{
	long calls = (long)argument;
	for (int i = 0; i < calls; i++)
		(i % 2 ? odd : even)(i);
	return NULL;
}

int main(int argc, char **argv)
{
	void *calls = (void *)atol(argv[1]);
	pthread_t thread;
	int status = 0;

	(void)argc;
	switch (argv[2][0]) {
	case 'm':
		work(calls);
		break;
	case 't':
		pthread_create(&thread, NULL, work, calls);
		pthread_join(thread, NULL);
		break;
	case 'f':
		if (fork() == 0) {
			work(calls);
			_exit(0);
		}
		wait(&status);
		break;
	case 'e':
		if (fork() == 0) {
			execl("/proc/self/exe", argv[0], argv[1], "m", NULL);
			_exit(1);
		}
		wait(&status);
		break;
	}
	return status ? 1 : 0;
}
