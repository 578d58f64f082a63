/* Scenes of fork that are played with page tables, with 2 MiB pages and with pages in the swap area: each is given
 * marked memory at p and leaves it mapped. */
#ifndef FORKYARD_ODF_SCENES_H
#define FORKYARD_ODF_SCENES_H
#include "odf.h"
#include <pthread.h>
#include <sched.h>

/* P, C and G share the 512 marked pages at p and exit in the given order, each writing first when its bit of `writes`
 * is set. */
TEST_UNUSED static void exit_order(unsigned char *p, const int *order, int writes)
{
    int gate[3][2], report[2];
    char got[3];
    for (int i = 0; i < 3; i++)
        TEST_SUCC(pipe(gate[i]));
    TEST_SUCC(pipe(report));
    pid_t first = TEST_SUCC(fork()); /* plays P, so that it may end before its child */
    if (first == 0) {
        int who = 0;
        if (TEST_SUCC(fork()) == 0)
            who = TEST_SUCC(fork()) == 0 ? 2 : 1;
        if (writes >> who & 1)
            AT(p, 6) = 100 + who;
        turn_read(gate[who][0]);
        char ok = AT(p, 6) == (writes >> who & 1 ? 100 + who : 7) && marked(p, 7, 512) ? '0' + who : 'x';
        TEST_SUCC(write(report[1], &ok, 1));
        _exit(0);
    }
    for (int i = 0; i < 3; i++) {
        TEST_SUCC(write(gate[order[i]][1], "x", 1));
        TEST_RES(read(report[0], got + i, 1), _ret == 1);
        TEST_EQ(got[i], '0' + order[i]);
    }
    TEST_REAP(first);
    TEST_CHECK(marked(p, 0, 512));
    for (int i = 0; i < 3; i++)
        close(gate[i][0]), close(gate[i][1]);
    close(report[0]), close(report[1]);
}

TEST_UNUSED static void all_exit_orders(unsigned char *p)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++)
        for (int writes = 0; writes < 8; writes++)
            exit_order(p, orders[i], writes);
}

/* P writes at once after fork to pages that it has hot in the TLB: those from `from` on, one a round. */
TEST_UNUSED static void parent_writes_at_once(unsigned char *p, int from, int rounds)
{
    struct turns t = turns_new();
    for (int round = 0; round < rounds; round++) {
        volatile unsigned char *a = &AT(p, from + round);
        *a = 10;
        hot(a, 1);
        pid_t pid = RAW_FORK();
        if (pid == 0) {
            if (round % 2)
                *a = 30;
            child_hears(&t);
            TEST_EQ(*a, round % 2 ? 30 : 10);
            TEST_CHECK(marked(p, 0, from) && marked(p, from + rounds, 512));
            AT(p, 1) = 99;
            _exit(0);
        }
        *a = 20;
        parent_says(&t);
        TEST_REAP(pid);
        TEST_EQ(*a, 20);
    }
    TEST_CHECK(marked(p, 0, from) && marked(p, from + rounds, 512));
    turns_free(&t);
}

/* P, C and G write one page each of them, and one of their own near the end. */
TEST_UNUSED static void three_generations(unsigned char *p, int pages)
{
    struct turns t = turns_new(), u = turns_new();
    int last = pages - 24;
    pid_t c = TEST_SUCC(fork());
    if (c == 0) {
        pid_t g = TEST_SUCC(fork());
        if (g == 0) {
            AT(p, 4) = AT(p, last) = 30;
            child_says(&u);
            child_hears(&u);
            TEST_EQ(AT(p, 4), 30);
            TEST_EQ(AT(p, last), 30);
            TEST_CHECK(marked(p, 5, last) && marked(p, last + 1, pages));
            _exit(0);
        }
        parent_hears(&u);
        child_says(&t);
        child_hears(&t); /* P has written */
        TEST_CHECK(marked(p, 0, pages));
        AT(p, 4) = AT(p, last + 1) = 20;
        parent_says(&u);
        TEST_REAP(g);
        TEST_EQ(AT(p, 4), 20);
        TEST_CHECK(marked(p, 5, last + 1));
        _exit(0);
    }
    parent_hears(&t);
    TEST_CHECK(marked(p, 0, pages));
    AT(p, 4) = 10;
    parent_says(&t);
    TEST_REAP(c);
    TEST_EQ(AT(p, 4), 10);
    TEST_CHECK(marked(p, 5, pages));
    turns_free(&t);
    turns_free(&u);
}

/* Each generation writes one page and forks the next; every one keeps its own view. */
TEST_UNUSED static void chain_of_forks(unsigned char *p, int length)
{
    int depth = 0;
    pid_t pid = 0;
    for (; depth < length; depth++) {
        AT(p, depth) = 240;
        if ((pid = TEST_SUCC(fork())) != 0)
            break;
    }
    if (depth < length)
        TEST_REAP(pid);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), i <= depth && i < length ? 240 : i % 251 + 1);
    if (getpid() != test_pid)
        _exit(0);
}

/* n children, each writes its own page. */
TEST_UNUSED static void many_children(unsigned char *p, int n)
{
    struct turns t = turns_new();
    int step = 512 / n;
    pid_t pid[n];
    for (int i = 0; i < n; i++)
        if ((pid[i] = TEST_SUCC(fork())) == 0) {
            AT(p, i * step) = 255;
            child_says(&t);
            child_hears(&t); /* all have written before any looks */
            for (int k = 0; k < 512; k++)
                TEST_EQ(AT(p, k), k == i * step ? 255 : k % 251 + 1);
            _exit(0);
        }
    for (int i = 0; i < n; i++)
        parent_hears(&t);
    for (int i = 0; i < n; i++)
        parent_says(&t);
    for (int i = 0; i < n; i++)
        TEST_REAP(pid[i]);
    TEST_CHECK(marked(p, 0, 512));
    turns_free(&t);
}

/* use_odf changes in P and in C while memory is shared. */
TEST_UNUSED static void switch_toggled(unsigned char *p)
{
    int odf = 1;
    for (int i = 0; i < 6; i++) {
        if (test_odf)
            TEST_SUCC(test_set_odf(odf = !odf));
        struct turns t = turns_new();
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            if (i % 2)
                AT(p, 30) = 40 + i;
            if (test_odf)
                TEST_SUCC(test_set_odf(!odf));
            TEST_CHILD({ TEST_EQ(AT(p, 31), i ? 60 + i - 1 : 32); AT(p, 31) = 99; });
            child_says(&t);
            child_hears(&t);
            TEST_EQ(AT(p, 30), i % 2 ? 40 + i : 31);
            TEST_EQ(AT(p, 31), i ? 60 + i - 1 : 32);
            _exit(0);
        }
        parent_hears(&t);
        AT(p, 31) = 60 + i;
        parent_says(&t);
        TEST_REAP(pid);
        TEST_EQ(AT(p, 30), 31);
        turns_free(&t);
    }
    if (test_odf)
        TEST_SUCC(test_set_odf(1));
}

static unsigned char *thread_page;
static volatile int thread_stage;

TEST_UNUSED static void *reader(void *unused)
{
    (void)unused;
    hot(&AT(thread_page, 9), 0); /* through what C shares */
    thread_stage = 1;
    while (thread_stage != 2)
        sched_yield();
    return (void *)(long)TEST_PEEK(&AT(thread_page, 9));
}

/* A thread of P has page 9 hot while the other makes the table, or the leaf, private and writes there. */
TEST_UNUSED static void thread_reads_through_the_old(unsigned char *p)
{
    pthread_t thread;
    void *seen;
    thread_page = p;
    thread_stage = 0;
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    TEST_EQ(pthread_create(&thread, NULL, reader, NULL), 0);
    while (thread_stage != 1)
        sched_yield();
    AT(p, 8) = 1; /* private from here on */
    AT(p, 9) = 77;
    thread_stage = 2;
    pthread_join(thread, &seen);
    TEST_EQ((long)seen, 77);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
}

TEST_UNUSED static void *writer(void *which)
{
    long i = (long)which;
    for (int k = 0; k < 50; k++) {
        while (thread_stage != i)
            sched_yield();
        AT(thread_page, 10 + i + 2 * k) = 200 + i;
        thread_stage = !i;
    }
    return NULL;
}

/* Two threads of P write one page after the other under what C shares, from page 10 on. */
TEST_UNUSED static void threads_write_in_turn(unsigned char *p)
{
    pthread_t thread[2];
    thread_page = p;
    thread_stage = 0;
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 10, 512));
        _exit(0);
    }
    for (long i = 0; i < 2; i++)
        TEST_EQ(pthread_create(&thread[i], NULL, writer, (void *)i), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int k = 0; k < 100; k++)
        TEST_EQ(AT(p, 10 + k), 200 + k % 2);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
}
#endif
