/*
 * A program without a C library, whose path is known instruction by instruction: a debugger steps it on the host.
 * It has loops, a switch, recursion, indirect calls, repeated string instructions over many pages, blocks that are too
 * long for one translation and fault on the way, and stores that fault in the middle of small blocks.
 *
 * Arguments: any first letter is the seed of the path; a second of 'p' populates the memory before it is used, so that
 * nothing there faults: the path is the same either way. A second of 'n' lets the program change its code (link with -N).
 */
#include <stdint.h>

#define PAGE 4096
#define PAGES 600

static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static volatile int stores;

__attribute__((noinline)) static int depth(int n)
{
	stores++; /* linked with -N this lies beside the code */
	return n <= 1 ? 1 : depth(n - 1) + n % 3;
}

__attribute__((noinline)) static int pick(int n)
{
	switch (n % 7) {
	case 0: return n + 1;
	case 1: return n ^ 5;
	case 2: return depth(n);
	case 3: return n * n;
	case 4: return pick(n + 1);
	case 5: return n - 3;
	default: return -n;
	}
}

static int twice(int n) { return 2 * n; }
static int half(int n) { return n / 2; }
static int (*const volatile table[])(int) = { twice, half, pick };

/* 1400 stores, one every 256 bytes: far more instructions than one translation holds, and a fault every 16 stores. */
__attribute__((noinline)) static void straight(char *to)
{
	__asm__ volatile(
		".set offset, 0\n"
		".rept 1400\n"
		"addl $7, offset(%0)\n"
		".set offset, offset + 256\n"
		".endr\n" : : "r"(to) : "memory", "cc");
}

/* As long, and it ends with a branch that is taken once and not taken once. */
__attribute__((noinline)) static int long_branch(char *to, int n)
{
	__asm__ volatile(
		"1:\n"
		".set offset, 0\n"
		".rept 700\n"
		"addl $3, offset(%1)\n"
		".set offset, offset + 512\n"
		".endr\n"
		"decl %0\n"
		"jnz 1b\n" : "+r"(n) : "r"(to) : "memory", "cc");
	return n;
}

/* Instructions that a translation has many operations for: it is cut by those. */
__attribute__((noinline)) static long heavy(char *to)
{
	long n = (long)to;
	char *from = to + 64 * PAGE;
	__asm__ volatile(
		".rept 300\n"
		"movsb\n"
		"rcll %%cl, %%eax\n"
		"pushfq\n"
		"cmpsb\n"
		"popq %%rdx\n"
		"shldl %%cl, %%eax, %%edx\n"
		".endr\n" : "+a"(n), "+D"(to), "+S"(from) : "c"(3L) : "rdx", "memory", "cc");
	return n;
}

__attribute__((noinline)) static void copy(char *to, char *from, long words)
{
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

__attribute__((noinline)) static void clear(char *to, long words)
{
	__asm__ volatile("nop; rep stosq; nop" : "+D"(to), "+c"(words) : "a"(0) : "memory");
}

__attribute__((noinline)) static int scattered(char *memory, int seed)
{
	int sum = 0;
	for (int i = 0; i < 40; i++) {
		char *at = memory + (uint64_t)((i * 37 + seed) % PAGES) * PAGE;
		at[1] += 1; /* the first of several stores of one block faults */
		at[2] += 2;
		sum += at[1] * table[(i + seed) % 3](i);
	}
	return sum;
}

/* Pages of the file that nobody has read yet: reads and stores in the middle of blocks, also of one that is cut. */
static char pages[400 * PAGE] __attribute__((aligned(4096))) = { 1 };

__attribute__((noinline)) static int from_file(int seed)
{
	int sum = 0;
	for (int i = 0; i < 20; i++) {
		char *at = pages + ((i * 7 + seed) % 100) * PAGE;
		sum += seed;
		sum += at[5];
		at[6] = sum;
		sum ^= at[100 * PAGE];
	}
	__asm__ volatile(
		".set offset, 0\n"
		".rept 600\n"
		"xorl offset(%0), %%eax\n"
		".set offset, offset + 1024\n"
		".endr\n" : : "r"(pages + 250 * PAGE) : "eax", "memory", "cc");
	return sum;
}

/* A store into the block that it is in, and stores beside code. */
__attribute__((noinline)) static void change_code(void)
{
	for (int i = 0; i < 3; i++)
		__asm__ volatile(
			"nop\n"
			"movb $0x90, 1f(%%rip)\n"
			"nop\n"
			"1: nop\n"
			"incl 2f(%%rip)\n"
			"jmp 3f\n"
			"2: .long 0\n"
			"3: push %%rax\n"
			"pop %%rax\n" : : : "memory", "cc");
}

__attribute__((used)) static void program(long *stack)
{
	char **argv = (char **)(stack + 1);
	int seed = argv[1][0] & 7;
	long populate = (argv[1][1] == 'p') * 0x8000; /* MAP_POPULATE, without a branch */
	char *memory = (char *)call6(9, 0, PAGES * PAGE, 3, 0x22 | populate, -1, 0);
	volatile int sum = scattered(memory, seed);
	straight(memory + 100 * PAGE);
	sum += long_branch(memory + 200 * PAGE, 2);
	sum += heavy(memory + 400 * PAGE);
	copy(memory + 300 * PAGE + 100, memory + 320 * PAGE, 3 * PAGE / 8 + 11);
	clear(memory + 330 * PAGE + 8, 2 * PAGE / 8);
	sum += from_file(seed);
	if (argv[1][1] == 'n')
		change_code();
	for (int i = 0; i < 20 + seed; i++)
		sum += pick(i);
	for (int i = 0; i < 3; i++)
		call6(39, 0, 0, 0, 0, 0, 0);
	call6(231, 0, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall program\n");
