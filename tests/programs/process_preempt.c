/* Preemption: two busy processes take turns, and every instruction still has its effect exactly once. */
#include "test.h"
#include <pthread.h>
#include <sys/time.h>

#define ROUNDS 4000000UL

static pid_t rival;
static void start_rival(void)
{
    rival = TEST_SUCC(fork());
    if (rival == 0)
        for (;;)
            ;
}
static void end_rival(void)
{
    TEST_SUCC(kill(rival, SIGKILL));
    test_wait(rival);
}

/* `body` changes the memory at %2 once a turn; blocks and registers are counted beside it. */
static volatile unsigned long memory;
#define EXACT(body)                                                                        \
    do {                                                                                   \
        unsigned long a = 0, b = 0, n = ROUNDS, t = 1;                                     \
        memory = 0;                                                                        \
        start_rival();                                                                     \
        asm volatile("1: inc %0\n\t" body "\n\tjmp 2f\n2:\tinc %1\n\tdec %3\n\tjnz 1b"     \
                     : "+r"(a), "+r"(b), "+m"(memory), "+r"(n), "+r"(t) : : "rax", "rdx", "cc"); \
        end_rival();                                                                       \
        TEST_EQ(a, ROUNDS);                                                                \
        TEST_EQ(b, ROUNDS);                                                                \
        TEST_EQ(memory, ROUNDS);                                                           \
    } while (0)

FN_TEST(increment) { EXACT("incq %2"); }
FN_TEST(locked_increment) { EXACT("lock incq %2"); }
FN_TEST(add_register) { EXACT("add %4, %2"); }
FN_TEST(exchange_and_add) { EXACT("mov $1, %%edx\n\tlock xadd %%rdx, %2"); }
FN_TEST(compare_and_exchange)
{
    EXACT("3: mov %2, %%rax\n\tlea 1(%%rax), %%rdx\n\tlock cmpxchg %%rdx, %2\n\tjnz 3b");
}
FN_TEST(push_and_pop)
{
    EXACT("mov %2, %%rax\n\tsub $128, %%rsp\n\tpush %%rax\n\tincq (%%rsp)\n\tpop %%rdx\n\tadd $128, %%rsp\n\t"
          "mov %%rdx, %2");
}

static unsigned long shared_count;
static void *add(void *unused)
{
    (void)unused;
    for (unsigned long i = 0; i < ROUNDS / 4; i++)
        __atomic_add_fetch(&shared_count, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

FN_TEST(threads)
{
    pthread_t threads[4];
    shared_count = 0;
    for (int i = 0; i < 4; i++)
        TEST_EQ(pthread_create(&threads[i], NULL, add, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    TEST_EQ(shared_count, ROUNDS);
}

static volatile sig_atomic_t ticks;
static void tick(int signo)
{
    (void)signo;
    ticks++;
}

FN_TEST(timer_signals)
{
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    signal(SIGALRM, tick);
    ticks = 0;
    TEST_SUCC(syscall(SYS_setitimer, 0, &every, NULL));
    EXACT("incq %2");
    TEST_SUCC(syscall(SYS_setitimer, 0, &never, NULL));
    signal(SIGALRM, SIG_DFL);
    TEST_CHECK(ticks > 0);
}
