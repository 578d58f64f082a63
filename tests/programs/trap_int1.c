/* INT1 (ICEBP): a debug exception, with RIP behind the instruction. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

extern char here[];

static void handler(int signo, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	char line[100];

	write(1, line, snprintf(line, sizeof line, "%d code %d addr %ld rip %ld trap %lld error %lld\n", signo,
				info->si_code, (long)((char *)info->si_addr - here),
				(long)((char *)regs[REG_RIP] - here), (long long)regs[REG_TRAPNO],
				(long long)regs[REG_ERR]));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &action, NULL);
	__asm__ volatile(".globl here\nhere: .byte 0xf1; nop");
	return 5;
}
