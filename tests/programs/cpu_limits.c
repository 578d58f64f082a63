/* A program that computes until a limit or timer on its CPU time ends it: the kind is the first byte of its input. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 50000 } };
	struct itimerspec as_soon = { { 0, 0 }, { 0, 50000000 } };
	struct rlimit limit = { 1, 2 };
	struct sigevent event;
	char kind;
	timer_t timer;

	if (read(0, &kind, 1) != 1)
		return 2;
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGUSR1;
	switch (kind) {
	case 'l':
		setrlimit(RLIMIT_CPU, &limit);
		break;
	case 'p':
		setitimer(ITIMER_PROF, &soon, NULL);
		break;
	case 'v':
		setitimer(ITIMER_VIRTUAL, &soon, NULL);
		break;
	case 't':
	case 'T':
		if (timer_create(kind == 't' ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID, &event, &timer) ||
		    timer_settime(timer, 0, &as_soon, NULL))
			return 3;
		break;
	default:
		return 4;
	}
	for (;;)
		;
}
