/* Ways to crash, chosen by the first character of stdin. Line numbers do not matter: gdb is asked for them. */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define INLINE static inline __attribute__((always_inline))

static volatile int zero, sink;
static int *volatile null;
static void *volatile anywhere;

INLINE int innermost(int *p, int scale)
{
	int value = scale * 3;
	value += *p;
	return value * scale;
}

INLINE int middle(int *p)
{
	sink = 7;
	return innermost(p, sink) + 1;
}

NOINLINE int outer(int *p)
{
	sink = 1;
	int result = middle(p);
	sink = 2;
	return result;
}

NOINLINE int deep(int levels, int *p)
{
	if (levels == 0) {
		sink = *p;
		return 1;
	}
	int result = deep(levels - 1, p);
	sink += result;
	return result + 1;
}

NOINLINE int odd(int n);

NOINLINE int even(int n)
{
	volatile char room[200];
	room[n & 127] = 1;
	int result = odd(n + 1);
	return result + room[3];
}

NOINLINE int odd(int n)
{
	volatile char room[300];
	room[n & 127] = 1;
	int result = even(n + 1);
	return result + room[5];
}

static void handler(int signo)
{
	sink = signo;
	*null = signo;
	sink = 0;
}

static int compare(const void *a, const void *b)
{
	sink = *(const int *)a;
	return *null + *(const int *)b;
}

static void *thread(void *argument)
{
	sink = 3;
	*(volatile int *)argument = 1;
	return argument;
}

NOINLINE void smash(void)
{
	/* Needs a frame pointer. */
	unsigned long *volatile frame = __builtin_frame_address(0);
	((volatile unsigned long *)frame)[1] = 0x414141414141UL;
}

NOINLINE void call(void (*function)(void))
{
	sink = 4;
	function();
	sink = 5;
}

int main(int argc, char **argv)
{
	char text[64];
	int n = argc > 1 ? (freopen(argv[1], "r", stdin) ? 0 : 0) : 0;
	n = read(0, text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	int numbers[] = {4, 3, 2, 1};
	switch (text[0]) {
	case 'a': abort();
	case 'A': assert(text[1] == 'x' && "a message"); break;
	case 'b': {
		int fd = memfd_create("short", 0);
		char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		map[5000] = 1;
		break;
	}
	case 'c': call((void (*)(void))0x123456789000); break;
	case 'C': call((void (*)(void))(unsigned long)zero); break;
	case 'd': sink = 10 / zero; break;
	case 'D': memset(text, 0x41, sizeof text); free(text + 17); break;
	case 'e': return 3;
	case 'f': if (fork() == 0) *null = 1; wait(0); break;
	case 'h': signal(SIGUSR1, handler); raise(SIGUSR1); break;
	case 'H': asm volatile("hlt"); break;
	case 'i': __builtin_trap();
	case 'l': for (;;) sink++;
	case 'm': memset((void *)0x10, text[1], 3000 + zero); break;
	case 'n': return outer(null);
	case 'N': sink = *(volatile int *)0x4141414141414140; break;
	case 'o': return even(0);
	case 'p': return deep(5, null);
	case 'q': qsort(numbers, 4, sizeof(int), compare); break;
	case 'r': *(volatile char *)"constant" = 1; break;
	case 'R': raise(SIGSEGV); break;
	case 's': smash(); break;
	case 't': { pthread_t t; pthread_create(&t, 0, thread, (void *)0x20); pthread_join(t, 0); break; }
	case 'T': raise(SIGTERM); break;
	case 'w': *(volatile long *)0xdeadbeef000 = 1; break;
	case 'x': {
		anywhere = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(anywhere, 0xc3, 16);
		call((void (*)(void))anywhere);
		break;
	}
	case 'y': call((void (*)(void))main + 100000000); break;
	}
	return 0;
}
