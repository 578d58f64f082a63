/* On-demand fork, hazards 1-10, 30, 49, 51, 53, 61: who sees which bytes while tables are shared and come apart. */
#include "odf.h"
#include <pthread.h>
#include <sched.h>

FN_TEST(h01_child_writes_parent_reads)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({ AT(p, 7) = 200; TEST_EQ(AT(p, 7), 200); TEST_CHECK(marked(p, 8, 512)); });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h02_entries_lose_write_when_the_table_is_copied)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        AT(p, 1) = 200; /* copies T */
        child_says(&t);
        child_hears(&t);
        TEST_EQ(AT(p, 2), 3);
        TEST_CHECK(marked(p, 2, 512));
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 2) = 201; /* P is alone on T now */
    memset(p + 3 * TEST_PAGE, 9, TEST_PAGE);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_EQ(AT(p, 1), 2);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h03_child_exits_without_writing)
{
    unsigned char *p = table_of_pages(1);
    for (int round = 0; round < 5; round++) {
        TEST_CHILD({ TEST_EQ(AT(p, 100), round ? round : 101); });
        for (int i = 0; i < 512; i++)
            AT(p, i) = round + 1;
        for (int i = 0; i < 512; i++)
            TEST_EQ(AT(p, i), round + 1);
    }
    drop(p, 1);
}

FN_TEST(h04_first_write_of_the_child)
{
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    AT(p, 5) = 1; /* count 1: reuse in place would be wrong */
    TEST_CHILD({ AT(p, 5) = 2; });
    TEST_EQ(AT(p, 5), 1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_EQ(AT(p, 5), 1);
        _exit(0);
    }
    AT(p, 5) = 3; /* and of the parent */
    parent_says(&t);
    TEST_REAP(pid);
    TEST_EQ(AT(p, 5), 3);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h05_hot_translation_of_the_parent)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    for (int round = 0; round < 20; round++) {
        volatile unsigned char *a = &AT(p, round);
        *a = 10;
        hot(a, 1);
        pid_t pid = RAW_FORK();
        if (pid == 0) {
            if (round % 2)
                *a = 30;
            child_hears(&t);
            TEST_EQ(*a, round % 2 ? 30 : 10);
            _exit(0);
        }
        *a = 20; /* at once */
        parent_says(&t);
        TEST_REAP(pid);
        TEST_EQ(*a, 20);
    }
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h05_parent_writes_at_once_child_reads)
{
    unsigned char *p = table_of_pages(3);
    for (int i = 0; i < 3 * 512; i += 171)
        hot(&AT(p, i), 1);
    struct turns t = turns_new();
    pid_t pid = RAW_FORK();
    if (pid) /* every hot page of all three tables */
        for (int i = 0; i < 3 * 512; i += 171)
            AT(p, i) = 255;
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 3 * 512));
        _exit(0);
    }
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 3);
}

static unsigned char *thread_page;
static volatile int thread_stage;

static void *reader(void *unused)
{
    (void)unused;
    volatile unsigned char *b = &AT(thread_page, 9);
    for (int i = 0; i < 100; i++)
        (void)*b; /* hot, through the old table */
    thread_stage = 1;
    while (thread_stage != 2)
        sched_yield();
    return (void *)(long)*b;
}

FN_TEST(h06_thread_reads_through_the_old_table)
{
    thread_page = table_of_pages(1);
    pthread_t thread;
    void *seen;
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        pause();
        _exit(0);
    }
    thread_stage = 0;
    TEST_EQ(pthread_create(&thread, NULL, reader, NULL), 0);
    while (thread_stage != 1)
        sched_yield();
    AT(thread_page, 8) = 1; /* the table becomes private */
    AT(thread_page, 9) = 77;
    thread_stage = 2;
    pthread_join(thread, &seen);
    TEST_EQ((long)seen, 77);
    kill(pid, SIGKILL);
    TEST_EQ(test_wait(pid), SIGKILL);
    drop(thread_page, 1);
}

FN_TEST(h07_unmapped_and_reused)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        unsigned char *other = test_map(600 * TEST_PAGE);
        for (int i = 0; i < 512; i += 37)
            hot(&AT(p, i), 0);
        TEST_EQ(RAW_MUNMAP(p, TEST_TABLE), 0);
        child_says(&t);
        child_hears(&t);                      /* P, the last sharer, has dropped the table */
        memset(other, 0xee, 600 * TEST_PAGE); /* on its frames */
        for (int i = 0; i < 512; i += 37)
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, i), TEST_PEEK(&AT(p, i)));
        _exit(0);
    }
    parent_hears(&t);
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
}

FN_TEST(h07_unmapped_by_the_last_sharer)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t); /* P has dropped the table: what C unmaps is free at once */
        unsigned char *other = test_map_aligned(TEST_TABLE, TEST_TABLE);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 500), {
            hot(&AT(p, 500), 0);
            RAW_MUNMAP(p, TEST_TABLE);
            for (int i = 0; i < 512; i++)
                TEST_POKE(&AT(other, i), 0xee); /* no system call until the frames are used again */
            TEST_PEEK(&AT(p, 500));
        });
        _exit(0);
    }
    drop(p, 1);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
}

FN_TEST(h08_three_generations)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new(), u = turns_new();
    pid_t c = TEST_SUCC(fork());
    if (c == 0) {
        pid_t g = TEST_SUCC(fork());
        if (g == 0) {
            AT(p, 4) = 30;
            child_says(&u);
            child_hears(&u);
            TEST_EQ(AT(p, 4), 30);
            TEST_CHECK(marked(p, 5, 512));
            _exit(0);
        }
        parent_hears(&u);
        child_says(&t);
        child_hears(&t); /* P has written */
        TEST_EQ(AT(p, 4), 5);
        AT(p, 4) = 20;
        parent_says(&u);
        TEST_REAP(g);
        TEST_EQ(AT(p, 4), 20);
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 4) = 10;
    parent_says(&t);
    TEST_REAP(c);
    TEST_EQ(AT(p, 4), 10);
    turns_free(&t);
    turns_free(&u);
    drop(p, 1);
}

FN_TEST(h09_two_children_then_a_third)
{
    unsigned char *p = table_of_pages(1);
    struct turns a = turns_new(), b = turns_new();
    pid_t c1 = TEST_SUCC(fork());
    if (c1 == 0) {
        child_hears(&a);
        AT(p, 1) = 100;
        child_says(&a);
        child_hears(&a);
        TEST_EQ(AT(p, 1), 100);
        TEST_EQ(AT(p, 2), 3);
        _exit(0);
    }
    pid_t c2 = TEST_SUCC(fork());
    if (c2 == 0) {
        child_hears(&b);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    parent_says(&a);
    parent_hears(&a);
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ TEST_CHECK(marked(p, 0, 512)); AT(p, 2) = 120; });
    AT(p, 2) = 130;
    parent_says(&a);
    parent_says(&b);
    TEST_REAP(c1);
    TEST_REAP(c2);
    TEST_EQ(AT(p, 2), 130);
    turns_free(&a);
    turns_free(&b);
    drop(p, 1);
}

FN_TEST(h10_all_exit_orders)
{
    unsigned char *p = table_of_pages(1);
    all_exit_orders(p);
    drop(p, 1);
}

FN_TEST(h30_child_execs)
{
    unsigned char *p = table_of_pages(1);
    for (int i = 0; i < 3; i++) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        AT(p, i) = 150;
        TEST_REAP(pid);
        AT(p, i + 10) = 151;
        TEST_EQ(AT(p, i), 150);
    }
    TEST_CHECK(marked(p, 20, 512));
    drop(p, 1);
}

FN_TEST(h49_switch_toggled_while_shared)
{
    unsigned char *p = table_of_pages(1);
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
    drop(p, 1);
}

static volatile int whose_turn;

static void *writer(void *which)
{
    long i = (long)which;
    for (int k = 0; k < 50; k++) {
        while (whose_turn != i)
            sched_yield();
        AT(thread_page, 10 + i + 2 * k) = 200 + i;
        whose_turn = !i;
    }
    return NULL;
}

FN_TEST(h51_two_threads_fault_in_one_table)
{
    thread_page = table_of_pages(1);
    whose_turn = 0;
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(thread_page, 0, 512));
        _exit(0);
    }
    pthread_t thread[2];
    for (long i = 0; i < 2; i++)
        TEST_EQ(pthread_create(&thread[i], NULL, writer, (void *)i), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int k = 0; k < 100; k++)
        TEST_EQ(AT(thread_page, 10 + k), 200 + k % 2);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(thread_page, 1);
}

static int clone_body(void *argument)
{
    AT((unsigned char *)argument, 50) = 222;
    return 0;
}

FN_TEST(h53_vfork_and_clone_vm_write_for_the_parent)
{
    static char stack[65536] __attribute__((aligned(16)));
    unsigned char *p = table_of_pages(1);
    pid_t other = TEST_SUCC(fork()); /* keeps the table shared */
    if (other == 0) {
        pause();
        _exit(0);
    }
    pid_t pid = vfork();
    if (pid == 0) {
        AT(p, 49) = 111;
        _exit(0);
    }
    TEST_REAP(pid);
    TEST_EQ(AT(p, 49), 111);
    pid = TEST_SUCC(clone(clone_body, stack + sizeof stack, CLONE_VM | SIGCHLD, p));
    TEST_REAP(pid);
    TEST_EQ(AT(p, 50), 222);
    TEST_CHECK(marked(p, 51, 512));
    kill(other, SIGKILL);
    TEST_EQ(test_wait(other), SIGKILL);
    drop(p, 1);
}

FN_TEST(h61_many_children_each_writes_its_page)
{
    enum { N = 200 };
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid[N];
    for (int i = 0; i < N; i++)
        if ((pid[i] = TEST_SUCC(fork())) == 0) {
            AT(p, i * 2) = 255;
            child_says(&t);
            child_hears(&t); /* all have written before any looks */
            for (int k = 0; k < 512; k++)
                TEST_EQ(AT(p, k), k == i * 2 ? 255 : k % 251 + 1);
            _exit(0);
        }
    for (int i = 0; i < N; i++)
        parent_hears(&t);
    for (int i = 0; i < N; i++)
        parent_says(&t);
    for (int i = 0; i < N; i++)
        TEST_REAP(pid[i]);
    TEST_CHECK(marked(p, 0, 512));
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(fork_bomb_of_generations)
{
    /* Each generation writes one page and forks the next; every one keeps its own view. */
    unsigned char *p = table_of_pages(1);
    int depth = 0;
    pid_t pid = 0;
    for (; depth < 20; depth++) {
        AT(p, depth) = 240;
        if ((pid = TEST_SUCC(fork())) != 0)
            break;
    }
    if (depth < 20)
        TEST_REAP(pid);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), i <= depth && i < 20 ? 240 : i % 251 + 1);
    if (getpid() != test_pid)
        _exit(0);
    drop(p, 1);
}

FN_TEST(odfork_by_number)
{
    unsigned char *p = table_of_pages(1);
    long pid = syscall(600); /* odfork() under Forkyard; the host does not have it */
    if (pid == -1) {
        TEST_EQ(errno, ENOSYS);
        pid = TEST_SUCC(fork());
    }
    if (pid == 0) {
        AT(p, 1) = 9;
        _exit(0);
    }
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}
