/* CPU exceptions as signals, thousands of them in one process, and what happens when they cannot be delivered. */
#include "test.h"
#include <ucontext.h>

static sigjmp_buf out;
static volatile siginfo_t seen;
static volatile long trapno, error_code, cr2, rip;
static volatile int count;

static void jump(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    trapno = g[REG_TRAPNO], error_code = g[REG_ERR], cr2 = g[REG_CR2], rip = g[REG_RIP];
    count++;
    siglongjmp(out, 1);
}

static void catch(int signo)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = jump;
    action.sa_flags = SA_SIGINFO;
    TEST_SUCC(sigaction(signo, &action, NULL));
}

static volatile int zero;
static volatile int sink;

#define CATCH(block) if (!sigsetjmp(out, 1)) { block; test_fail(__FILE__, __LINE__, "no signal: " #block); }

static void divide(void) { sink = 5 / zero; }
static void overflow(void) { __asm__ volatile("mov $0x80000000, %%eax; cltd; mov $-1, %%ecx; idiv %%ecx" ::: "rax", "rcx", "rdx"); }
static void null_read(void) { sink = *(volatile int *)8; }
static void null_write(void) { *(volatile int *)16 = 1; }
static void illegal(void) { __asm__ volatile("ud2"); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void privileged(void) { __asm__ volatile("hlt"); }
static void non_canonical(void) { sink = *(volatile int *)0x8000000000000000; }
static void jump_nowhere(void) { ((void (*)(void))0x2000)(); }

static void many(int signo, void (*raise_it)(void), int code, int times)
{
    catch(signo);
    count = 0;
    for (volatile int i = 0; i < times; i++) {
        CATCH(raise_it());
        if (seen.si_signo != signo || seen.si_code != code)
            test_fail(__FILE__, __LINE__, "round %d: signal %d code %d", i, seen.si_signo, seen.si_code);
    }
    TEST_EQ(count, times);
    signal(signo, SIG_DFL);
}

FN_TEST(sigfpe_5000_times) { many(SIGFPE, divide, FPE_INTDIV, 5000); }
FN_TEST(sigfpe_overflow) { many(SIGFPE, overflow, FPE_INTDIV, 100); }
FN_TEST(sigsegv_5000_times) { many(SIGSEGV, null_read, SEGV_MAPERR, 5000); }
FN_TEST(sigill_5000_times) { many(SIGILL, illegal, ILL_ILLOPN, 5000); }
FN_TEST(sigtrap_5000_times) { many(SIGTRAP, breakpoint, SI_KERNEL, 5000); }
FN_TEST(privileged_instruction) { many(SIGSEGV, privileged, SI_KERNEL, 500); }
FN_TEST(non_canonical_address) { many(SIGSEGV, non_canonical, SI_KERNEL, 500); }

FN_TEST(mixed_exceptions)
{
    catch(SIGFPE), catch(SIGSEGV), catch(SIGILL), catch(SIGTRAP);
    for (volatile int i = 0; i < 1000; i++) {
        CATCH(divide());
        TEST_EQ(seen.si_signo, SIGFPE);
        CATCH(privileged());
        TEST_EQ(seen.si_code, SI_KERNEL);
        CATCH(null_write());
        TEST_EQ(seen.si_addr, 16);
        CATCH(illegal());
        TEST_EQ(seen.si_signo, SIGILL);
        CATCH(breakpoint());
        TEST_EQ(seen.si_signo, SIGTRAP);
    }
}

FN_TEST(what_the_context_says)
{
    catch(SIGFPE), catch(SIGSEGV), catch(SIGILL), catch(SIGTRAP);
    CATCH(null_read());
    TEST_EQ(trapno, 14);
    TEST_EQ(error_code, 4);
    TEST_EQ(cr2, 8);
    CATCH(null_write());
    TEST_EQ(error_code, 6);
    TEST_EQ(cr2, 16);
    CATCH(jump_nowhere());
    TEST_EQ(seen.si_addr, 0x2000);
    TEST_EQ(rip, 0x2000);
    TEST_EQ(error_code, 0x14);
    CATCH(divide());
    TEST_EQ(trapno, 0);
    TEST_EQ((long)seen.si_addr, rip);
    CATCH(breakpoint());
    TEST_EQ(trapno, 3);
    CATCH(illegal());
    TEST_EQ(trapno, 6);
    TEST_EQ((long)seen.si_addr, rip);
    CATCH(privileged());
    TEST_EQ(trapno, 13);
}

FN_TEST(fault_inside_a_fault_handler)
{
    int status = TEST_CHILD_STATUS({
        /* SIGSEGV is blocked while its handler runs, so the second one kills. */
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = (void (*)(int))(void *)null_read;
        sigaction(SIGSEGV, &action, NULL);
        null_read();
    });
    TEST_EQ(status & 0x7f, SIGSEGV);
}

FN_TEST(blocked_or_ignored_faults_kill)
{
    int status = TEST_CHILD_STATUS(signal(SIGSEGV, SIG_IGN); null_read());
    TEST_EQ(status & 0x7f, SIGSEGV);
    status = TEST_CHILD_STATUS(catch(SIGFPE); sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, NULL);
                               divide());
    TEST_EQ(status & 0x7f, SIGFPE);
    status = TEST_CHILD_STATUS(signal(SIGTRAP, SIG_IGN); breakpoint());
    TEST_EQ(status & 0x7f, SIGTRAP);
    /* Sent by kill(), an ignored SIGSEGV is only ignored. */
    TEST_CHILD(signal(SIGSEGV, SIG_IGN); kill(getpid(), SIGSEGV));
}

FN_TEST(unhandled_faults_kill)
{
    void (*faults[])(void) = {divide, null_read, illegal, breakpoint, privileged, non_canonical, jump_nowhere};
    static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGTRAP, SIGSEGV, SIGSEGV, SIGSEGV};
    for (int i = 0; i < 7; i++) {
        int status = TEST_CHILD_STATUS(signal(signals[i], SIG_DFL); faults[i]());
        TEST_EQ(status & 0x7f, signals[i]);
    }
}

FN_TEST(codes_of_mapped_faults)
{
    catch(SIGSEGV), catch(SIGBUS);
    unsigned char *p = test_map(2 * TEST_PAGE);
    mprotect(p, TEST_PAGE, PROT_READ);
    CATCH(TEST_POKE(p + 7, 1));
    TEST_EQ(seen.si_code, SEGV_ACCERR);
    TEST_EQ(seen.si_addr, p + 7);
    TEST_EQ(error_code & 3, 2);
    mprotect(p, TEST_PAGE, PROT_NONE);
    CATCH(TEST_PEEK(p + 9));
    TEST_EQ(seen.si_code, SEGV_ACCERR);
    TEST_EQ(seen.si_addr, p + 9);
    int fd = TEST_SUCC(memfd_create("x", 0));
    TEST_SUCC(ftruncate(fd, 1));
    unsigned char *q = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, PROT_READ, MAP_SHARED, fd, 0));
    CATCH(TEST_PEEK(q + TEST_PAGE + 5));
    TEST_EQ(seen.si_signo, SIGBUS);
    TEST_EQ(seen.si_code, BUS_ADRERR);
    TEST_EQ(seen.si_addr, q + TEST_PAGE + 5);
    close(fd);
}

static volatile int steps;

static void step(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    ucontext_t *uc = context;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    if (++steps == 20)
        uc->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

FN_TEST(single_step)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = step;
    action.sa_flags = SA_SIGINFO;
    TEST_SUCC(sigaction(SIGTRAP, &action, NULL));
    steps = 0;
    __asm__ volatile("sub $128, %%rsp; pushf; orq $0x100, (%%rsp); popf\n\t"
                     ".rept 40\n\tnop\n\t.endr\n\tadd $128, %%rsp" ::: "memory", "cc");
    TEST_EQ(steps, 20);
    TEST_EQ(seen.si_code, TRAP_TRACE);
    signal(SIGTRAP, SIG_DFL);
}
