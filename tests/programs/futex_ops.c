/* futex(2) by hand: every operation, its errors, and futexes shared between processes. */
#include "test.h"
#include <pthread.h>
#include <sched.h>
#include <time.h>

/* musl-gcc has no linux/futex.h */
enum {
    WAIT = 0, WAKE = 1, REQUEUE = 3, CMP_REQUEUE = 4, WAKE_OP = 5, LOCK_PI = 6, UNLOCK_PI = 7, TRYLOCK_PI = 8,
    WAIT_BITSET = 9, WAKE_BITSET = 10, LOCK_PI2 = 13, PRIVATE = 128, REALTIME = 256,
};
#define WAITERS 0x80000000u
#define OWNER_DIED 0x40000000u

static long futex(volatile void *address, int op, unsigned value, const void *timeout, volatile void *other,
                  unsigned value3)
{
    return syscall(SYS_futex, address, op, value, timeout, other, value3);
}

static volatile unsigned word, word2;

FN_TEST(errors)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    word = 1;
    TEST_ERRNO(futex(&word, WAIT, 0, NULL, NULL, 0), EAGAIN);
    TEST_ERRNO(futex((char *)&word + 1, WAIT, 1, NULL, NULL, 0), EINVAL);
    TEST_ERRNO(futex((char *)&word + 2, WAKE, 1, NULL, NULL, 0), EINVAL);
    TEST_ERRNO(futex((void *)8, WAIT, 1, NULL, NULL, 0), EFAULT);
    TEST_ERRNO(futex((void *)0x8000000000000000, WAKE, 1, NULL, NULL, 0), EFAULT);
    TEST_RES(futex((void *)8, WAKE | PRIVATE, 1, NULL, NULL, 0), _ret == 0);
    TEST_ERRNO(futex((void *)8, WAKE, 1, NULL, NULL, 0), EFAULT);
    TEST_ERRNO(futex(&word, WAIT, 1, &bad, NULL, 0), EINVAL);
    TEST_ERRNO(futex(&word, WAIT, 1, &negative, NULL, 0), EINVAL);
    TEST_ERRNO(futex(&word, WAIT, 1, (void *)8, NULL, 0), EFAULT);
    TEST_ERRNO(futex(&word, WAIT_BITSET, 1, NULL, NULL, 0), EINVAL);
    TEST_ERRNO(futex(&word, WAKE_BITSET, 1, NULL, NULL, 0), EINVAL);
    TEST_ERRNO(futex(&word, WAIT | REALTIME, 1, NULL, NULL, 0), ENOSYS);
    TEST_ERRNO(futex(&word, 77, 1, NULL, NULL, 0), ENOSYS);
    TEST_ERRNO(futex(&word, CMP_REQUEUE, 1, (void *)1, &word2, 9), EAGAIN);
    TEST_ERRNO(futex(&word, CMP_REQUEUE, -1, (void *)1, &word2, 1), EINVAL);
    TEST_ERRNO(futex(&word, REQUEUE, 1, (void *)-1L, &word2, 0), EINVAL);
    TEST_RES(futex(&word, WAKE, 1, NULL, NULL, 0), _ret == 0);
}

static long elapsed_ms(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

FN_TEST(timeouts)
{
    struct timespec start, t = {0, 30000000};
    word = 5;
    clock_gettime(CLOCK_MONOTONIC, &start);
    TEST_ERRNO(futex(&word, WAIT, 5, &t, NULL, 0), ETIMEDOUT);
    TEST_CHECK(elapsed_ms(&start) >= 29);
    /* WAIT_BITSET takes an absolute time, on either clock. */
    for (int clock = 0; clock < 2; clock++) {
        clock_gettime(clock ? CLOCK_REALTIME : CLOCK_MONOTONIC, &t);
        t.tv_nsec += 30000000;
        if (t.tv_nsec >= 1000000000)
            t.tv_sec++, t.tv_nsec -= 1000000000;
        clock_gettime(CLOCK_MONOTONIC, &start);
        TEST_ERRNO(futex(&word, WAIT_BITSET | PRIVATE | (clock ? REALTIME : 0), 5, &t, NULL, 1), ETIMEDOUT);
        TEST_CHECK(elapsed_ms(&start) >= 28);
    }
    t.tv_sec = 1;
    TEST_ERRNO(futex(&word, WAIT_BITSET, 5, &t, NULL, ~0u), ETIMEDOUT);
    TEST_ERRNO(futex(&word, WAIT_BITSET | REALTIME, 5, &t, NULL, ~0u), ETIMEDOUT);
    t.tv_sec = t.tv_nsec = 0;
    TEST_ERRNO(futex(&word, WAIT, 5, &t, NULL, 0), ETIMEDOUT);
}

#define SLEEPERS 6
static volatile int asleep, woken[SLEEPERS], order;
static volatile pid_t tids[SLEEPERS];

struct sleeper {
    int number, op;
    unsigned bits;
    pthread_t thread;
};

static void *sleeper(void *argument)
{
    struct sleeper *self = argument;
    tids[__sync_fetch_and_add(&asleep, 1)] = syscall(SYS_gettid);
    long r = futex(&word, self->op, 7, NULL, NULL, self->bits);
    woken[self->number] = r == 0 ? __sync_add_and_fetch(&order, 1) : -1;
    return NULL;
}

/* Wait until that many threads sleep. */
static void settle(int count)
{
    for (int i = 0; i < count; i++) {
        while (!tids[i])
            sched_yield();
        test_until_asleep(getpid(), tids[i]);
    }
}

static struct sleeper sleepers[SLEEPERS];

static void start(int op, const unsigned *bits)
{
    asleep = order = 0;
    word = 7;
    memset((void *)tids, 0, sizeof tids);
    for (int i = 0; i < SLEEPERS; i++) {
        woken[i] = 0;
        sleepers[i] = (struct sleeper){.number = i, .op = op, .bits = bits ? bits[i] : 0};
        TEST_EQ(pthread_create(&sleepers[i].thread, NULL, sleeper, &sleepers[i]), 0);
        settle(i + 1);
    }
}

static void join(void)
{
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(sleepers[i].thread, NULL);
}

/* Which threads have been woken, when the others sleep. */
static int awake(void)
{
    int mask = 0;
    for (int i = 0; i < SLEEPERS; i++) {
        test_until_asleep(getpid(), tids[i]);
        mask |= (woken[i] != 0) << i;
    }
    return mask;
}

FN_TEST(wake_in_order)
{
    start(WAIT | PRIVATE, NULL);
    TEST_EQ(futex(&word, WAKE, 9, NULL, NULL, 0), 0); /* shared and private are different futexes here */
    TEST_EQ(futex(&word, WAKE | PRIVATE, 1, NULL, NULL, 0), 1);
    TEST_EQ(awake(), 1);
    TEST_EQ(futex(&word, WAKE | PRIVATE, 2, NULL, NULL, 0), 2);
    TEST_EQ(awake(), 7);
    TEST_EQ(futex(&word, WAKE | PRIVATE, 0, NULL, NULL, 0), 1); /* 0 counts as 1 */
    TEST_EQ(futex(&word, WAKE | PRIVATE, 0x7fffffff, NULL, NULL, 0), 2);
    join();
    TEST_EQ(futex(&word, WAKE | PRIVATE, 1, NULL, NULL, 0), 0);
}

FN_TEST(wake_by_bitset)
{
    static const unsigned bits[SLEEPERS] = {1, 2, 4, 1, 2, ~0u};
    start(WAIT_BITSET | PRIVATE, bits);
    TEST_EQ(futex(&word, WAKE_BITSET | PRIVATE, 9, NULL, NULL, 8), 1);
    TEST_EQ(awake(), 32);
    TEST_EQ(futex(&word, WAKE_BITSET | PRIVATE, 9, NULL, NULL, 2), 2);
    TEST_EQ(awake(), 32 + 2 + 16);
    TEST_EQ(futex(&word, WAKE_BITSET | PRIVATE, 1, NULL, NULL, 5), 1);
    TEST_EQ(awake(), 32 + 2 + 16 + 1);
    TEST_EQ(futex(&word, WAKE | PRIVATE, 9, NULL, NULL, 0), 2);
    join();
}

FN_TEST(requeue)
{
    start(WAIT, NULL);
    word2 = 0;
    TEST_EQ(futex(&word, CMP_REQUEUE, 1, (void *)3L, &word2, 7), 4);
    TEST_EQ(awake(), 1);
    TEST_EQ(futex(&word2, WAKE, 1, NULL, NULL, 0), 1);
    TEST_EQ(awake(), 3);
    TEST_EQ(futex(&word2, REQUEUE, 0, (void *)1L, &word, 0), 1);
    TEST_EQ(futex(&word2, WAKE, 9, NULL, NULL, 0), 1);
    TEST_EQ(futex(&word, WAKE, 9, NULL, NULL, 0), 3);
    join();
    TEST_EQ(order, SLEEPERS);
}

FN_TEST(wake_op)
{
    start(WAIT | PRIVATE, NULL);
    word2 = 10;
    /* FUTEX_OP(ADD, 5, GT, 9): word2 becomes 15, its old value is greater, nobody sleeps there. */
    TEST_EQ(futex(&word2, WAKE_OP | PRIVATE, 1, (void *)2L, &word, 1u << 28 | 5 << 24 | 5 << 12 | 6), 2);
    TEST_EQ(word, 12);
    TEST_EQ(awake(), 3);
    TEST_EQ(futex(&word, WAKE_OP | PRIVATE, 1, (void *)2L, &word2, 4u << 28 | 0 << 24 | 3 << 12 | 11), 1);
    TEST_EQ(word2, 9);
    TEST_EQ(futex(&word, WAKE_OP | PRIVATE, 9, (void *)2L, &word2, (0u | 8) << 28 | 1 << 24 | 6 << 12 | 9), 3);
    TEST_EQ(word2, 64);
    join();
    TEST_ERRNO(futex(&word, WAKE_OP, 1, (void *)1L, &word2, 5u << 28), ENOSYS);
    TEST_ERRNO(futex(&word, WAKE_OP, 1, (void *)1L, (void *)8, 0), EFAULT);
}

FN_TEST(between_processes)
{
    volatile unsigned *shared = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    shared[0] = 0;
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        shared[1] = 1;
        while (shared[0] == 0)
            futex(&shared[0], WAIT, 0, NULL, NULL, 0);
        _exit(0);
    }
    while (!shared[1])
        sched_yield();
    usleep(20000);
    TEST_EQ(futex(&shared[0], WAKE | PRIVATE, 1, NULL, NULL, 0), 0);
    shared[0] = 1;
    futex(&shared[0], WAKE, 1, NULL, NULL, 0);
    TEST_REAP(pid);
    /* The same page of a file mapped at two addresses is one futex. */
    int fd = TEST_SUCC(memfd_create("futex", 0));
    TEST_SUCC(ftruncate(fd, TEST_PAGE));
    volatile unsigned *a = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    volatile unsigned *b = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    pid = TEST_SUCC(fork());
    if (pid == 0) {
        a[1] = 1;
        _exit(futex(&a[2], WAIT, 0, NULL, NULL, 0) == 0 ? 0 : 1);
    }
    while (!b[1])
        sched_yield();
    while (futex(&b[2], WAKE, 1, NULL, NULL, 0) == 0)
        usleep(1000);
    TEST_REAP(pid);
    close(fd);
    /* Private memory after fork: two futexes at one address. */
    word = 0;
    shared[1] = 0;
    pid = TEST_SUCC(fork());
    if (pid == 0) {
        struct timespec t = {0, 60000000};
        shared[1] = 1;
        _exit(futex(&word, WAIT, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : 1);
    }
    while (!shared[1])
        sched_yield();
    usleep(20000);
    TEST_EQ(futex(&word, WAKE, 9, NULL, NULL, 0), 0);
    TEST_REAP(pid);
}

/* -- priority inheritance -- */

static volatile int pi_got;

static void *pi_locker(void *argument)
{
    (void)argument;
    tids[__sync_fetch_and_add(&asleep, 1)] = syscall(SYS_gettid);
    if (futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0) == 0 && (word & 0x3fffffff) == syscall(SYS_gettid)) {
        __sync_fetch_and_add(&pi_got, 1);
        usleep(2000);
        futex(&word, UNLOCK_PI | PRIVATE, 0, NULL, NULL, 0);
    }
    return NULL;
}

FN_TEST(pi_lock)
{
    unsigned tid = syscall(SYS_gettid);
    word = 0;
    TEST_SUCC(futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    TEST_EQ(word, tid);
    TEST_ERRNO(futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0), EDEADLK);
    TEST_ERRNO(futex(&word, TRYLOCK_PI | PRIVATE, 0, NULL, NULL, 0), EDEADLK);
    TEST_SUCC(futex(&word, UNLOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    TEST_EQ(word, 0);
    TEST_ERRNO(futex(&word, UNLOCK_PI | PRIVATE, 0, NULL, NULL, 0), EPERM);
    word = 0x3ffffff0;
    TEST_ERRNO(futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0), ESRCH);
    word = 0;
    TEST_SUCC(futex(&word, TRYLOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    pthread_t threads[4];
    asleep = pi_got = 0;
    memset((void *)tids, 0, sizeof tids);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, pi_locker, NULL);
    settle(4);
    TEST_EQ(word, tid | WAITERS);
    TEST_SUCC(futex(&word, UNLOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    TEST_EQ(pi_got, 4);
    TEST_EQ(word & ~WAITERS, 0);
}

static void *pi_holder(void *argument)
{
    (void)argument;
    futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0);
    asleep = 1;
    while (asleep)
        usleep(1000);
    test_until_asleep(getpid(), getpid());
    return NULL; /* dies with the lock, when the other waits for it */
}

FN_TEST(pi_timeout_and_dead_owner)
{
    pthread_t thread;
    word = asleep = 0;
    pthread_create(&thread, NULL, pi_holder, NULL);
    while (!asleep)
        sched_yield();
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 10000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    TEST_ERRNO(futex(&word, LOCK_PI | PRIVATE, 0, &t, NULL, 0), ETIMEDOUT);
    TEST_ERRNO(futex(&word, TRYLOCK_PI | PRIVATE, 0, NULL, NULL, 0), EAGAIN);
    asleep = 0;
    TEST_SUCC(futex(&word, LOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    TEST_EQ(word & 0x3fffffff, syscall(SYS_gettid));
    TEST_EQ(word & OWNER_DIED, OWNER_DIED);
    TEST_SUCC(futex(&word, UNLOCK_PI | PRIVATE, 0, NULL, NULL, 0));
    pthread_join(thread, NULL);
}

/* -- robust lists -- */

struct robust_entry {
    struct robust_entry *next;
    unsigned word;
};
struct robust_head {
    struct robust_entry *next;
    long offset;
    struct robust_entry *pending;
};

FN_TEST(robust_list_calls)
{
    void *head;
    size_t length;
    struct robust_head mine = {(void *)&mine, 0, NULL};
    TEST_ERRNO(syscall(SYS_set_robust_list, &mine, 23), EINVAL);
    TEST_SUCC(syscall(SYS_get_robust_list, 0, &head, &length));
    TEST_EQ(length, 24);
    void *before = head;
    TEST_SUCC(syscall(SYS_set_robust_list, &mine, 24));
    TEST_SUCC(syscall(SYS_get_robust_list, 0, &head, &length));
    TEST_EQ(head, &mine);
    TEST_SUCC(syscall(SYS_set_robust_list, before, 24));
    TEST_ERRNO(syscall(SYS_get_robust_list, 999999, &head, &length), ESRCH);
    TEST_ERRNO(syscall(SYS_get_robust_list, 0, 8L, &length), EFAULT);
}

FN_TEST(robust_list_at_exit)
{
    struct {
        struct robust_head head;
        struct robust_entry entries[4], pending;
        volatile unsigned ready;
    } *shared = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        unsigned tid = syscall(SYS_gettid);
        shared->head.offset = offsetof(struct robust_entry, word);
        shared->head.next = &shared->entries[0];
        shared->head.pending = &shared->pending;
        for (int i = 0; i < 4; i++)
            shared->entries[i].next = i < 3 ? &shared->entries[i + 1] : (void *)&shared->head;
        shared->entries[0].word = tid;
        shared->entries[1].word = tid | WAITERS;
        shared->entries[2].word = 77; /* somebody else's */
        shared->entries[3].word = tid;
        shared->pending.word = tid;
        syscall(SYS_set_robust_list, &shared->head, 24);
        shared->ready = 1;
        test_until_asleep(test_pid, test_pid);
        kill(getpid(), SIGKILL);
    }
    while (!shared->ready)
        sched_yield();
    TEST_SUCC(futex(&shared->entries[1].word, WAIT, shared->entries[1].word, NULL, NULL, 0));
    test_wait(pid);
    TEST_EQ(shared->entries[0].word, OWNER_DIED);
    TEST_EQ(shared->entries[1].word, OWNER_DIED | WAITERS);
    TEST_EQ(shared->entries[2].word, 77);
    TEST_EQ(shared->entries[3].word, OWNER_DIED);
    TEST_EQ(shared->pending.word, OWNER_DIED);
}

FN_TEST(robust_lists_of_nonsense_do_not_hang)
{
    struct robust_entry loop = {&loop, 0};
    struct robust_head heads[] = {
        {(void *)8, 0, NULL}, {&loop, 8, NULL}, {(void *)-8L, -1, (void *)-1L}, {(void *)0x7ffffffff000, 1L << 62, (void *)3},
    };
    for (int i = 0; i < 4; i++)
        TEST_CHILD(syscall(SYS_set_robust_list, &heads[i], 24));
    TEST_CHILD(syscall(SYS_set_robust_list, 8L, 24));
    TEST_CHILD(syscall(SYS_set_robust_list, -8L, 24));
}

FN_TEST(clear_child_tid)
{
    TEST_EQ(syscall(SYS_set_tid_address, &word2), syscall(SYS_gettid));
}

/* -- futex_waitv -- */

struct waitv {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static void *wake_second(void *argument)
{
    (void)argument;
    test_until_asleep(getpid(), getpid());
    word2 = 1;
    while (futex(&word2, WAKE | PRIVATE, 1, NULL, NULL, 0) == 0)
        usleep(1000);
    return NULL;
}

FN_TEST(waitv)
{
    word = word2 = 0;
    struct waitv v[3] = {{0, (uintptr_t)&word, 2 | PRIVATE, 0}, {0, (uintptr_t)&word2, 2 | PRIVATE, 0},
                         {5, (uintptr_t)&word, 2 | PRIVATE, 0}};
    TEST_ERRNO(syscall(449, v, 3, 0, NULL, 0), EAGAIN);
    TEST_ERRNO(syscall(449, v, 0, 0, NULL, 0), EINVAL);
    TEST_ERRNO(syscall(449, v, 129, 0, NULL, 0), EINVAL);
    TEST_ERRNO(syscall(449, v, 2, 1, NULL, 0), EINVAL);
    v[1].flags = 1;
    TEST_ERRNO(syscall(449, v, 2, 0, NULL, 0), EINVAL);
    v[1].flags = 2 | PRIVATE;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    TEST_ERRNO(syscall(449, v, 2, 0, &t, CLOCK_MONOTONIC), ETIMEDOUT);
    TEST_ERRNO(syscall(449, v, 2, 0, &t, CLOCK_BOOTTIME), EINVAL);
    pthread_t thread;
    pthread_create(&thread, NULL, wake_second, NULL);
    TEST_EQ(syscall(449, v, 2, 0, NULL, 0), 1);
    pthread_join(thread, NULL);
}

FN_TEST(futex2_calls)
{
    word = 3;
    TEST_ERRNO(syscall(455, &word, 4UL, ~0UL & 0xffffffff, 2 | PRIVATE, NULL, 0), EAGAIN);
    TEST_ERRNO(syscall(455, &word, 3UL, 0UL, 2 | PRIVATE, NULL, 0), EINVAL);
    TEST_ERRNO(syscall(455, &word, 3UL, 1UL, 1 | PRIVATE, NULL, 0), EINVAL);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    TEST_ERRNO(syscall(455, &word, 3UL, 1UL, 2 | PRIVATE, &t, CLOCK_MONOTONIC), ETIMEDOUT);
    TEST_EQ(syscall(454, &word, 1UL, 1, 2 | PRIVATE), 0);
    TEST_ERRNO(syscall(454, &word, 1UL, 1, 0x40), EINVAL);
}
