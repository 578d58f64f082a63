/* On-demand fork, hazards 1-10, 30, 49, 51, 53, 61: who sees which bytes while tables are shared and come apart. */
#include "odf_scenes.h"
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
    parent_writes_at_once(p, 0, 20);
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

FN_TEST(h06_thread_reads_through_the_old_table)
{
    unsigned char *p = table_of_pages(1);
    thread_reads_through_the_old(p);
    drop(p, 1);
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
    three_generations(p, 512);
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
    switch_toggled(p);
    drop(p, 1);
}

FN_TEST(h51_two_threads_fault_in_one_table)
{
    unsigned char *p = table_of_pages(1);
    threads_write_in_turn(p);
    drop(p, 1);
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
    unsigned char *p = table_of_pages(1);
    many_children(p, 200);
    drop(p, 1);
}

FN_TEST(fork_bomb_of_generations)
{
    unsigned char *p = table_of_pages(1);
    chain_of_forks(p, 20);
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
