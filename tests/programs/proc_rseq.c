/* Restartable sequences: registration, and what becomes of an interrupted critical section. */
#include "proc.h"
#include <sched.h>
#include <sys/time.h>

#define SIGNATURE 0x53053053u

struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t rseq_cs;
    uint32_t flags, node_id, mm_cid;
    char end[4];
} __attribute__((aligned(32)));

struct descriptor {
    uint32_t version, flags;
    uint64_t start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32)));

static struct area mine;

/* The area of this thread: libc's, or our own where libc has none. */
static struct area *area(void)
{
    static struct area *found;
    if (found)
        return found;
    if (syscall(SYS_rseq, &mine, 32, 0, SIGNATURE) == 0)
        return found = &mine;
#ifdef __GLIBC__
    extern const ptrdiff_t __rseq_offset __attribute__((weak));
    if (&__rseq_offset) {
        char *thread;
        __asm__("mov %%fs:0, %0" : "=r"(thread));
        return found = (struct area *)(thread + __rseq_offset);
    }
#endif
    return NULL;
}

FN_TEST(registration)
{
    struct area *a = area();
    TEST_CHECK(a);
    unsigned cpu;
    TEST_SUCC(syscall(SYS_getcpu, &cpu, NULL, NULL));
    TEST_CHECK(a->cpu_id == a->cpu_id_start && a->cpu_id < 4096);
    static struct area other;
    TEST_ERRNO(syscall(SYS_rseq, &other, 32, 0, SIGNATURE), EINVAL);
    TEST_ERRNO(syscall(SYS_rseq, a, 32, 0, SIGNATURE), EBUSY);
    TEST_ERRNO(syscall(SYS_rseq, a, 32, 0, SIGNATURE + 1), EPERM);
    TEST_ERRNO(syscall(SYS_rseq, a, 32, 2, SIGNATURE), EINVAL);
    TEST_ERRNO(syscall(SYS_rseq, a, 32, 1, SIGNATURE + 1), EPERM);
    TEST_ERRNO(syscall(SYS_rseq, a, 64, 1, SIGNATURE), EINVAL);
    TEST_ERRNO(syscall(SYS_rseq, &other, 32, 1, SIGNATURE), EINVAL);
    TEST_CHILD({
        TEST_SUCC(syscall(SYS_rseq, a, 32, 1, SIGNATURE)); /* fork has kept it */
        TEST_EQ(a->cpu_id, (uint32_t)-1);
        TEST_EQ(a->cpu_id_start, 0);
        TEST_ERRNO(syscall(SYS_rseq, a, 32, 1, SIGNATURE), EINVAL);
        TEST_ERRNO(syscall(SYS_rseq, (char *)&other + 4, 32, 0, SIGNATURE), EINVAL);
        TEST_ERRNO(syscall(SYS_rseq, &other, 16, 0, SIGNATURE), EINVAL);
        TEST_ERRNO(syscall(SYS_rseq, -4096L, 32, 0, SIGNATURE), EFAULT);
        TEST_SUCC(syscall(SYS_rseq, &other, 32, 0, SIGNATURE));
        TEST_CHECK(other.cpu_id < 4096);
        TEST_SUCC(syscall(SYS_rseq, &other, 32, 1, SIGNATURE));
    });
}

/* Spin in a critical section until it is aborted, or `*stop`; returns 1 when it was aborted. */
__attribute__((noinline)) static int spin(struct area *a, volatile int *stop)
{
    static struct descriptor cs;
    int aborted = 0;
    __asm__ volatile(
        "lea 1f(%%rip), %%rax\n\t"
        "mov %%rax, 8(%[cs])\n\t" /* start_ip */
        "lea 2f(%%rip), %%rcx\n\t"
        "sub %%rax, %%rcx\n\t"
        "mov %%rcx, 16(%[cs])\n\t" /* post_commit_offset */
        "lea 4f(%%rip), %%rcx\n\t"
        "mov %%rcx, 24(%[cs])\n\t" /* abort_ip */
        "mov %[cs], 8(%[area])\n"
        "1:\n\t"
        "cmpl $0, (%[stop])\n\t"
        "je 1b\n"
        "2:\n\t"
        "jmp 5f\n\t"
        ".byte 0x0f, 0xb9, 0x3d\n\t" /* ud1, as librseq does, with the signature as its operand */
        ".long 0x53053053\n"
        "4:\n\t"
        "movl $1, %[aborted]\n"
        "5:\n"
        : [aborted] "+r"(aborted)
        : [cs] "r"(&cs), [area] "r"(a), [stop] "r"(stop)
        : "rax", "rcx", "memory", "cc");
    return aborted;
}

static volatile int stop, handled;

static void on_alarm(int signo)
{
    (void)signo;
    handled++;
}

FN_TEST(a_signal_aborts)
{
    struct area *a = area();
    struct itimerval timer = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    stop = handled = 0;
    signal(SIGALRM, on_alarm);
    TEST_SUCC(setitimer(ITIMER_REAL, &timer, NULL));
    TEST_EQ(spin(a, &stop), 1);
    TEST_EQ(a->rseq_cs, 0);
    while (!handled)
        usleep(1000);
    TEST_SUCC(setitimer(ITIMER_REAL, &never, NULL));
    signal(SIGALRM, SIG_DFL);
}

FN_TEST(preemption_aborts)
{
    struct area *a = area();
    cpu_set_t one;
    unsigned cpu;
    TEST_SUCC(syscall(SYS_getcpu, &cpu, NULL, NULL));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        TEST_SUCC(sched_setaffinity(0, sizeof one, &one));
        for (;;)
            ;
    }
    TEST_CHILD({
        TEST_SUCC(sched_setaffinity(0, sizeof one, &one));
        stop = 0;
        TEST_EQ(spin(a, &stop), 1);
        TEST_EQ(a->rseq_cs, 0);
    });
    kill(child, SIGKILL);
    TEST_EQ(test_wait(child), SIGKILL);
}

FN_TEST(finished_sections_are_left_alone)
{
    stop = 1;
    TEST_EQ(spin(area(), &stop), 0);
}

FN_TEST(nonsense_is_fatal)
{
    struct area *a = area();
    static struct descriptor cs;
    int status = TEST_CHILD_STATUS({
        cs.version = 1;
        cs.start_ip = 0;
        cs.post_commit_offset = 1;
        signal(SIGALRM, on_alarm);
        struct itimerval timer = {{0, 10000}, {0, 10000}};
        setitimer(ITIMER_REAL, &timer, NULL);
        a->rseq_cs = (uint64_t)(unsigned long)&cs;
        for (;;)
            ;
    });
    TEST_EQ(status & 0x7f, SIGSEGV);
}
