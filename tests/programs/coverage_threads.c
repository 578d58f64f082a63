/*
 * Threads that race for a lock, spin on each other and look at the clock, and print in which order they got where.
 * Every line depends on when each of them was preempted.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 60

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t spin;
static volatile long turns[THREADS];
static volatile int ready, alarms;
static char order[THREADS * ROUNDS + 1];
static int entered;

static void on_alarm(int signo)
{
	alarms++;
}

static void *work(void *argument)
{
	long me = (long)argument;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (ready < THREADS)
		;
	for (int i = 0; i < ROUNDS; i++) {
		for (volatile int j = 0; j < 400 + 97 * me; j++)
			turns[me]++;
		if (i % 2) {
			pthread_mutex_lock(&lock);
			order[entered++] = 'a' + me;
			pthread_mutex_unlock(&lock);
		} else {
			pthread_spin_lock(&spin);
			for (volatile int j = 0; j < 300; j++)
				;
			order[entered++] = 'A' + me;
			pthread_spin_unlock(&spin);
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	struct timespec now;
	struct itimerval every = {{0, 3000}, {0, 3000}};

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &every, NULL);
	pthread_spin_init(&spin, 0);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("%s\n", order);
	if (fork() == 0) {
		for (volatile int i = 0; i < 30000; i++)
			;
		_exit(0);
	}
	long looks = 0;
	while (waitpid(-1, NULL, WNOHANG) == 0)
		looks++;
	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("%ld looks, %d alarms, %ld.%09ld, pid %d\n", looks, alarms, (long)now.tv_sec, now.tv_nsec, getpid());
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	printf("cpu %ld.%09ld\n", (long)now.tv_sec, now.tv_nsec);
	return 0;
}
