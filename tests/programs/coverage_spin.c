/* Never ends: 'p' in the program, 'l' in the C library, 't' two threads in the program, 's' asleep. */
#include <pthread.h>
#include <unistd.h>

static void *forever(void *nothing)
{
	for (volatile long n = 0;; n++)
		;
	return nothing;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	pthread_spinlock_t spin;

	(void)argc;
	pthread_spin_init(&spin, 0);
	switch (argv[1][0]) {
	case 't':
		pthread_create(&thread, NULL, forever, NULL);
		/* fall through */
	case 'p':
		forever(NULL);
	case 'l':
		pthread_spin_lock(&spin);
		pthread_spin_lock(&spin);
	default:
		pause();
	}
}
