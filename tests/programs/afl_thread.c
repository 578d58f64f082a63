/* A program to fuzz with threads: each of four looks at a quarter of the input; a mutex guards what they count. */
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, MOST = 1024 };

static char bytes[MOST];
static size_t size;
static int open_ones, deepest;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *look(void *number)
{
	size_t quarter = (size + THREADS - 1) / THREADS, at = quarter * (size_t)number;

	for (size_t end = at + quarter; at < end && at < size; at++) {
		pthread_mutex_lock(&lock);
		if (bytes[at] == '(') {
			if (++open_ones > deepest)
				deepest = open_ones;
		} else if (bytes[at] == ')') {
			open_ones--;
		}
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	FILE *file = argc > 1 ? fopen(argv[1], "r") : stdin;
	pthread_t threads[THREADS];

	if (!file)
		return 100;
	size = fread(bytes, 1, sizeof bytes, file);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, look, (void *)i))
			return 101;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return deepest > 3;
}
