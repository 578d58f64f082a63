/* Preemption: an instruction that reads and writes memory happens once, whenever the clock strikes. */
#include "test.h"

static volatile unsigned long counts[2];
static char buffer[4096];

/* A child writes in odd pieces, so that the two processes interrupt each other at all kinds of places. */
FN_TEST(increments_in_memory_happen_once)
{
    int p[2];
    long total = 0, wrong = 0;
    ssize_t n;
    TEST_SUCC(pipe(p));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(p[0]);
        for (int i = 0; i < 4000; i++)
            TEST_SUCC(write(p[1], buffer, 777));
        _exit(0);
    }
    close(p[1]);
    while ((n = read(p[0], buffer, sizeof buffer)) > 0) {
        unsigned long before = counts[0];
        for (int i = 0; i < n; i++) {
            if (!buffer[i])
                __asm__ volatile("incq %0" : "+m"(counts[0]));
            __asm__ volatile("lock; addq $1, %0" : "+m"(counts[1]));
        }
        wrong += counts[0] - before != (unsigned long)n;
        total += n;
    }
    TEST_REAP(child);
    TEST_EQ(total, 4000 * 777);
    TEST_EQ(counts[0], total);
    TEST_EQ(counts[1], total);
    TEST_EQ(wrong, 0);
}

/* The stack moves by push, call and ret; a repeated one would not come back. */
static int depth(int n) { return n ? 1 + depth(n - 1) : 0; }
static int (*volatile descend)(int) = depth;

FN_TEST(calls_and_pushes_happen_once)
{
    pid_t children[3];
    for (int c = 0; c < 3; c++)
        if (!(children[c] = TEST_SUCC(fork()))) {
            for (int i = 0; i < 20000; i++)
                if (descend(60) != 60)
                    _exit(1);
            _exit(0);
        }
    for (int c = 0; c < 3; c++)
        TEST_REAP(children[c]);
}
