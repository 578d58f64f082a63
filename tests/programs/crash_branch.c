/*
 * Branches to where nothing can be executed, one a way: what a signal handler sees of each, or, with a second argument,
 * the crash itself. Two functions smash their stacks in different places; x, y and z use a stack that is nowhere.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define NOWHERE 0x4141414141414141

__attribute__((noinline, noclone)) int smash_one(const char *data, size_t size)
{
	char buffer[24];

	memcpy(buffer, data, size);
	__asm__ volatile("" : : "r"(buffer) : "memory");
	return buffer[3];
}

__attribute__((noinline, noclone)) int smash_two(const char *data, size_t size)
{
	char buffer[72];

	memcpy(buffer, data, size);
	__asm__ volatile("" : : "r"(buffer) : "memory");
	return buffer[4] * 2;
}

/* Each puts RSP as it is in front of its last instruction into RBX. */
void branches(void);
__asm__(".globl branches\n"
	"branches:\n"
	"way_r: mov $0x4141414141414141, %rax; push %rax; mov %rsp, %rbx; ret\n"
	"way_i: mov $0x4141414141414141, %rax; push %rax; push %rax; push %rax; mov %rsp, %rbx; ret $16\n"
	"way_c: mov $0x4141414141414141, %rax; mov %rsp, %rbx; call *%rax\n"
	"way_j: mov $0x4141414141414141, %rax; mov %rsp, %rbx; jmp *%rax\n"
	"way_C: mov $0x4141414141414141, %rax; push %rax; mov %rsp, %rbx; call *(%rsp)\n"
	"way_J: mov $0x4141414141414141, %rax; push %rax; mov %rsp, %rbx; jmp *(%rsp)\n"
	"way_h: mov $0x800000000000, %rax; mov %rsp, %rbx; jmp *%rax\n"
	"way_k: mov $0xffffffff81000000, %rax; mov %rsp, %rbx; jmp *%rax\n"
	"way_u: mov $0x414141410000, %rax; mov %rsp, %rbx; jmp *%rax\n"
	"way_n: xor %eax, %eax; mov %rsp, %rbx; call *%rax\n"
	"way_x: mov $0x4141414141414141, %rsp; ret\n"
	"way_y: mov $0x4141414141414141, %rsp; push %rax\n"
	"way_z: mov $0x4141414141414141, %rbp; mov 8(%rbp), %rax\n"
	".globl branches_end\n"
	"branches_end: ret\n");
extern char branches_end[];

extern char way_r[], way_i[], way_c[], way_j[], way_C[], way_J[], way_h[], way_k[], way_u[], way_n[],
	way_x[], way_y[], way_z[];
static const struct {
	char way;
	char *code;
} ways[] = { { 'r', way_r }, { 'i', way_i }, { 'c', way_c }, { 'j', way_j }, { 'C', way_C }, { 'J', way_J },
	     { 'h', way_h }, { 'k', way_k }, { 'u', way_u }, { 'n', way_n },
	     { 'x', way_x }, { 'y', way_y }, { 'z', way_z } };

static void handler(int signo, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	char *rip = (char *)regs[REG_RIP], line[200];
	int length, inside = rip >= (char *)branches && rip < branches_end;

	length = snprintf(line, sizeof line, "signal %d code %d addr %p rip %s %llx rsp %lld trap %lld error %lld\n", signo,
			  info->si_code, info->si_addr, inside ? "branches+" : "at",
			  inside ? rip - (char *)branches : (long long)rip, regs[REG_RSP] - regs[REG_RBX],
			  (long long)regs[REG_TRAPNO], (long long)regs[REG_ERR]);
	write(1, line, length);
	_exit(0);
}

int main(int argc, char **argv)
{
	static char stack[1 << 16];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	char way = 0, data[200];

	if (argc > 1) {
		sigaltstack(&alternate, NULL);
		sigaction(SIGSEGV, &action, NULL);
		way = argv[1][0];
	} else if (read(0, &way, 1) != 1) {
		return 2;
	}
	memset(data, 'A', sizeof data);
	if (way == '1')
		return smash_one(data, 100);
	if (way == '2')
		return smash_two(data, 150);
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
		if (ways[i].way == way)
			((void (*)(void))ways[i].code)();
	return 3;
}
