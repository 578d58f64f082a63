/* mprotect, and what each kind of fault tells the handler. */
#include "test.h"
#include <ucontext.h>

#define RX (PROT_READ | PROT_EXEC)

FN_TEST(read_only_refuses_writes)
{
    unsigned char *p = test_map(2 * TEST_PAGE);
    p[10] = 1;
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ));
    TEST_EQ(p[10], 1);
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 10, TEST_POKE(p + 10, 2));
    TEST_NO_FAULT(TEST_POKE(p + TEST_PAGE, 2));
    TEST_SUCC(mprotect(p, TEST_PAGE, RW));
    TEST_NO_FAULT(TEST_POKE(p + 10, 3));
    TEST_EQ(p[10], 3);
}

FN_TEST(none_refuses_all_and_keeps_data)
{
    unsigned char *p = test_map(TEST_PAGE);
    p[0] = 42;
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_NONE));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_PEEK(p));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1));
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ));
    TEST_EQ(TEST_PEEK(p), 42);
}

FN_TEST(refusals)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    TEST_ERRNO(syscall(SYS_mprotect, p + 1, TEST_PAGE, RW), EINVAL); /* musl rounds */
    TEST_SUCC(mprotect(p, 0, RW));
    TEST_ERRNO(mprotect(p, TEST_PAGE, 0x40), EINVAL);
    TEST_ERRNO(mprotect(p, ~0UL & -TEST_PAGE, RW), ENOMEM);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    /* A hole: ENOMEM, but what lies before it has changed. */
    TEST_ERRNO(mprotect(p, 3 * TEST_PAGE, PROT_READ), ENOMEM);
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1));
    TEST_NO_FAULT(TEST_POKE(p + 2 * TEST_PAGE, 1));
    TEST_ERRNO(mprotect(p + TEST_PAGE, TEST_PAGE, RW), ENOMEM);
}

FN_TEST(shared_mapping_of_a_read_only_file)
{
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY));
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ, MAP_SHARED, fd, 0));
    TEST_ERRNO(mprotect(p, TEST_PAGE, RW), EACCES);
    TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0), EACCES);
    TEST_EQ(p[0], 0x7f);
    unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    q[0] = 1;
    TEST_EQ(p[0], 0x7f);
    close(fd);
}

FN_TEST(mprotect_splits_and_merges)
{
    unsigned char *p = test_map(100 * TEST_PAGE);
    memset(p, 1, 100 * TEST_PAGE);
    for (int i = 1; i < 100; i += 2)
        TEST_SUCC(mprotect(p + i * TEST_PAGE, TEST_PAGE, PROT_READ));
    for (int i = 0; i < 100; i++)
        if (i % 2)
            TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + i * TEST_PAGE, TEST_POKE(p + i * TEST_PAGE, 2));
        else
            TEST_NO_FAULT(TEST_POKE(p + i * TEST_PAGE, 2));
    TEST_SUCC(mprotect(p, 100 * TEST_PAGE, RW));
    for (int i = 0; i < 100; i++)
        TEST_EQ(p[i * TEST_PAGE], 2 - i % 2);
    memset(p, 3, 100 * TEST_PAGE);
}

FN_TEST(cow_page_stays_private_through_mprotect)
{
    unsigned char *p = test_map(TEST_PAGE);
    p[0] = 1;
    int go[2], done[2];
    char c;
    TEST_SUCC(pipe(go));
    TEST_SUCC(pipe(done));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_SUCC(read(go[0], &c, 1));
        TEST_EQ(p[0], 1);
        _exit(0);
    }
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ));
    TEST_SUCC(mprotect(p, TEST_PAGE, RW));
    p[0] = 2;
    TEST_SUCC(write(go[1], "x", 1));
    TEST_REAP(pid);
    close(go[0]), close(go[1]), close(done[0]), close(done[1]);
}

FN_TEST(null_and_noncanonical)
{
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, 0, TEST_PEEK(NULL));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, 8, TEST_POKE(8, 1));
    /* A non-canonical address is a general protection fault: no address, SI_KERNEL. */
    TEST_FAULTS(SIGSEGV, SI_KERNEL, 0, TEST_PEEK(0x8000000000000000UL));
    TEST_FAULTS(SIGSEGV, SI_KERNEL, 0, TEST_POKE(0x0000900000000000UL, 1));
    /* The kernel's half: canonical, but not the user's. */
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, 0xffffffff81000000UL, TEST_PEEK(0xffffffff81000000UL));
}

FN_TEST(fault_address_inside_a_wide_access)
{
    unsigned char *p = test_map(2 * TEST_PAGE);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    /* An access that straddles the end reports the first byte that is missing. */
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + TEST_PAGE, *(volatile uint64_t *)(p + TEST_PAGE - 4) = 1);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + TEST_PAGE, (void)*(volatile uint32_t *)(p + TEST_PAGE - 1));
    TEST_EQ(p[TEST_PAGE - 4], 0); /* nothing was stored */
}

FN_TEST(string_instruction_faults_where_it_stands)
{
    unsigned char *p = test_map(2 * TEST_PAGE);
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, PROT_READ));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + TEST_PAGE, {
        void *to = p + TEST_PAGE - 100;
        unsigned long n = 200;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(7) : "memory");
    });
    TEST_EQ(p[TEST_PAGE - 1], 7);
    TEST_EQ(p[TEST_PAGE], 0);
}

FN_TEST(jump_to_nowhere)
{
    void (*volatile f)(void) = (void (*)(void))0x123456000UL;
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, 0x123456000UL, f());
    unsigned char *p = test_map(TEST_PAGE);
    p[0] = 0xc3; /* ret */
    f = (void (*)(void))p;
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, f()); /* no execute permission */
    TEST_SUCC(mprotect(p, TEST_PAGE, RX));
    TEST_NO_FAULT(f());
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_NONE));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, f());
}

FN_TEST(arithmetic_and_illegal)
{
    volatile int zero = 0, one = 7;
    TEST_RES(TEST_FAULT({ zero = one / zero; }).signo, _ret == SIGFPE);
    TEST_RES(TEST_FAULT({ zero = one / zero; }).code, _ret == FPE_INTDIV);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("ud2"); }).signo, SIGILL);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("ud2"); }).code, ILL_ILLOPN);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("int3"); }).signo, SIGTRAP);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("int3"); }).code, SI_KERNEL);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("hlt"); }).signo, SIGSEGV);
    TEST_EQ(TEST_FAULT({ __asm__ volatile("hlt"); }).code, SI_KERNEL);
}

static volatile long trap_rip, trap_trapno, trap_err, trap_cr2;

static void on_trap(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)signo, (void)info;
    trap_rip = uc->uc_mcontext.gregs[REG_RIP];
    trap_trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
    trap_err = uc->uc_mcontext.gregs[REG_ERR];
    trap_cr2 = uc->uc_mcontext.gregs[REG_CR2];
    siglongjmp(test_fault_out, 1);
}

static void catch_with_context(int signo)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_trap;
    sigaction(signo, &action, NULL);
}

FN_TEST(context_has_trap_number_error_and_cr2)
{
    unsigned char *p = test_map(TEST_PAGE);
    catch_with_context(SIGSEGV);
    if (!sigsetjmp(test_fault_out, 1))
        TEST_PEEK(16);
    TEST_EQ(trap_trapno, 14);
    TEST_EQ(trap_err, 4); /* user, read, not present */
    TEST_EQ(trap_cr2, 16);
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ));
    TEST_PEEK(p);
    if (!sigsetjmp(test_fault_out, 1))
        TEST_POKE(p + 3, 1);
    TEST_EQ(trap_err, 7); /* user, write, present */
    TEST_EQ(trap_cr2, (long)p + 3);
    signal(SIGSEGV, SIG_DFL);
}

FN_TEST(fault_thousands_of_times)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ, ANON, -1, 0));
    volatile int count = 0;
    catch_with_context(SIGSEGV);
    for (volatile int i = 0; i < 3000; i++) {
        if (!sigsetjmp(test_fault_out, 1))
            TEST_POKE(p + i, 1);
        else
            count += trap_cr2 == (long)p + i;
    }
    signal(SIGSEGV, SIG_DFL);
    TEST_EQ(count, 3000);
}

static unsigned char *open_later;

static void on_closed(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)info, (void)context;
    mprotect(open_later, TEST_PAGE, RW);
}

FN_TEST(handler_opens_the_page_and_the_access_is_repeated)
{
    open_later = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_NONE, ANON, -1, 0));
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_closed;
    TEST_SUCC(sigaction(SIGSEGV, &action, NULL));
    for (int i = 0; i < 50; i++) {
        ((volatile uint32_t *)open_later)[i] += i;
        TEST_SUCC(mprotect(open_later, TEST_PAGE, PROT_NONE));
    }
    TEST_EQ(((volatile uint32_t *)open_later)[49], 49);
    signal(SIGSEGV, SIG_DFL);
}

FN_TEST(uncaught_faults_kill)
{
    TEST_EQ(TEST_CHILD_STATUS({ TEST_POKE(0, 1); }) & 127, SIGSEGV);
    TEST_EQ(TEST_CHILD_STATUS({ __asm__ volatile("ud2"); }) & 127, SIGILL);
    TEST_EQ(TEST_CHILD_STATUS({ __asm__ volatile("int3"); }) & 127, SIGTRAP);
    TEST_EQ(TEST_CHILD_STATUS({ volatile int z = 0; z = 7 / z; }) & 127, SIGFPE);
    /* Ignored or blocked: the CPU's signal kills all the same. */
    TEST_EQ(TEST_CHILD_STATUS({ signal(SIGSEGV, SIG_IGN); TEST_POKE(0, 1); }) & 127, SIGSEGV);
    TEST_EQ(TEST_CHILD_STATUS({
        sigset_t s;
        sigfillset(&s);
        sigprocmask(SIG_BLOCK, &s, NULL);
        test_catch_faults(1);
        TEST_POKE(0, 1);
    }) & 127, SIGSEGV);
}

FN_TEST(kernel_reads_and_writes_obey_protection)
{
    int p[2];
    unsigned char *m = test_map(2 * TEST_PAGE);
    TEST_SUCC(pipe(p));
    TEST_SUCC(mprotect(m, TEST_PAGE, PROT_READ));
    TEST_SUCC(write(p[1], m, 10));
    TEST_ERRNO(read(p[0], m, 5), EFAULT);
    TEST_RES(read(p[0], m + TEST_PAGE, 100), _ret == 10); /* the failed read has eaten nothing */
    TEST_SUCC(mprotect(m, TEST_PAGE, PROT_NONE));
    TEST_ERRNO(write(p[1], m, 10), EFAULT);
    close(p[0]), close(p[1]);
}
