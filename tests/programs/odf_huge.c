/* On-demand fork, hazard 60: 2 MiB pages are copy-on-write between P, C and G, and never taken for tables.
 *
 * The mapping calls on parts of a leaf are in odf_leaves.c. */
#include "huge.h"
#include "odf_scenes.h"
#include <sys/uio.h>

FN_TEST(h60_one_leaf)
{
    unsigned char *p = leaves(2);
    EXPECT_LEAVES(p, 2 * TEST_TABLE, 2);
    TEST_EQ(smaps_kb(p, 2 * TEST_TABLE, "Rss"), 2 * LEAF_KB);
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
    p = leaf_room(1); /* one store brings all 2 MiB, the rest zero */
    AT(p, 300) = 1;
    EXPECT_LEAVES(p, TEST_TABLE, 1);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), i == 300);
    drop(p, 1);
}

FN_TEST(h60_child_writes)
{
    unsigned char *p = leaves(1);
    TEST_CHILD({
        EXPECT_LEAVES(p, TEST_TABLE, 1); /* C maps the same leaf */
        AT(p, 7) = 200;
        TEST_EQ(AT(p, 7), 200);
        TEST_CHECK(marked(p, 0, 7) && marked(p, 8, 512));
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Rss"), LEAF_KB);
    });
    TEST_CHECK(marked(p, 0, 512));
    EXPECT_LEAVES(p, TEST_TABLE, 1);
    AT(p, 7) = 9; /* alone again */
    TEST_EQ(AT(p, 7), 9);
    TEST_CHECK(marked(p, 8, 512));
    drop(p, 1);
}

FN_TEST(h60_parent_writes_at_once)
{
    unsigned char *p = leaves(1);
    parent_writes_at_once(p, 50, 10);
    drop(p, 1);
}

FN_TEST(h60_three_generations)
{
    unsigned char *p = leaves(2);
    three_generations(p, 1024);
    drop(p, 2);
}

FN_TEST(h60_all_exit_orders)
{
    unsigned char *p = leaves(1);
    all_exit_orders(p);
    drop(p, 1);
}

FN_TEST(h60_chain_of_forks)
{
    unsigned char *p = leaves(1);
    chain_of_forks(p, 12);
    drop(p, 1);
}

FN_TEST(h60_many_children)
{
    unsigned char *p = leaves(1);
    many_children(p, 20);
    drop(p, 1);
}

FN_TEST(h60_leaf_between_tables_of_one_mapping)
{
    /* 1 MiB of small pages, two leaves, 1 MiB of small pages: one VMA. */
    unsigned char *room = test_map_aligned(4 * TEST_TABLE, TEST_TABLE), *p = &AT(room, 256);
    TEST_SUCC(madvise(p, 3 * TEST_TABLE, MADV_HUGEPAGE));
    mark(p, 3 * 512);
    EXPECT_LEAVES(p, 3 * TEST_TABLE, 2);
    TEST_CHILD({
        AT(p, 255) = AT(p, 256) = 1; /* the border from table to leaf */
        *(volatile uint64_t *)(&AT(p, 768) - 4) = 0x1111111122222222; /* from leaf to leaf */
        TEST_EQ(AT(p, 768), 0x11);
        *(volatile uint64_t *)(&AT(p, 1280) - 4) = 0x3333333344444444; /* and back to a table */
        TEST_EQ(AT(p, 1280), 0x33);
        TEST_CHECK(marked(p, 0, 255) && marked(p, 257, 767) && marked(p, 769, 1279) && marked(p, 1281, 1536));
        TEST_CHILD({
            TEST_EQ(AT(p, 256), 1);
            TEST_EQ(AT(p, 1280), 0x33);
            mark(p, 3 * 512);
        });
        TEST_EQ(AT(p, 1280), 0x33);
    });
    TEST_CHECK(marked(p, 0, 1536));
    TEST_CHILD({ /* rep movsb from a table through the leaves into the other table */
        unsigned char *to = &AT(p, 250);
        const unsigned char *from = &AT(p, 0);
        unsigned long n = 100 * TEST_PAGE;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        TEST_EQ(n, 0);
        for (int i = 0; i < 100; i++)
            TEST_EQ(AT(p, 250 + i), i + 1);
        TEST_CHECK(marked(p, 0, 250) && marked(p, 350, 1536));
    });
    TEST_CHECK(marked(p, 0, 1536));
    TEST_SUCC(munmap(room, 4 * TEST_TABLE));
}

FN_TEST(h60_huge_zero_page)
{
    unsigned char *p = leaf_room(1);
    TEST_EQ(AT(p, 9), 0); /* read first */
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        AT(p, 10) = 1;
        child_says(&t);
        child_hears(&t);
        for (int i = 0; i < 512; i++)
            TEST_EQ(AT(p, i), i == 10);
        _exit(0);
    }
    parent_hears(&t);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), 0);
    AT(p, 11) = 2;
    parent_says(&t);
    TEST_REAP(pid);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), i == 11 ? 2 : 0);
    unsigned char *q = leaf_room(1);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(q, i), 0); /* zeros are still zeros */
    turns_free(&t);
    drop(p, 1);
    drop(q, 1);
}

FN_TEST(h60_filled_before_and_after_fork)
{
    /* Room that is only asked for at fork: each side gets its own leaf later. */
    unsigned char *p = leaf_room(2);
    mark(p, 512);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        AT(p, 600) = 3;
        child_says(&t);
        child_hears(&t);
        for (int i = 512; i < 1024; i++)
            TEST_EQ(AT(p, i), i == 600 ? 3 : 0);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    parent_hears(&t);
    for (int i = 512; i < 1024; i++)
        TEST_EQ(AT(p, i), 0);
    mark(p, 1024);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 1024));
    turns_free(&t);
    drop(p, 2);
}

FN_TEST(h60_switch_toggled)
{
    unsigned char *p = leaves(1);
    switch_toggled(p);
    drop(p, 1);
}

FN_TEST(h60_threads)
{
    unsigned char *p = leaves(1);
    thread_reads_through_the_old(p);
    threads_write_in_turn(p);
    drop(p, 1);
}

FN_TEST(h60_vfork_writes_for_the_parent)
{
    unsigned char *p = leaves(1);
    pid_t other = TEST_SUCC(fork()); /* keeps the leaf shared */
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
    kill(other, SIGKILL);
    TEST_EQ(test_wait(other), SIGKILL);
    TEST_CHECK(marked(p, 50, 512));
    drop(p, 1);
}

FN_TEST(h60_child_execs)
{
    unsigned char *p = leaves(1);
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

FN_TEST(h60_code_in_a_leaf)
{
    static const unsigned char ret7[] = {0xb8, 7, 0, 0, 0, 0xc3};
    unsigned char *p = leaf_room(1);
    TEST_SUCC(mprotect(p, TEST_TABLE, RW | PROT_EXEC));
    for (int i = 0; i < 20; i++)
        memcpy(&AT(p, i), ret7, sizeof ret7);
    int (*f)(void) = (int (*)(void))&AT(p, 3), (*g)(void) = (int (*)(void))&AT(p, 4);
    TEST_EQ(f() + g(), 14);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_EQ(f(), 7);
        (&AT(p, 3))[1] = 8;
        TEST_EQ(f() + g(), 15);
        child_says(&t);
        child_hears(&t);
        TEST_EQ(f() + g(), 15);
        _exit(0);
    }
    parent_hears(&t);
    TEST_EQ(f() + g(), 14);
    (&AT(p, 3))[1] = 9;
    TEST_EQ(f() + g(), 16);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h60_kernel_writes_into_a_leaf)
{
    unsigned char *p = leaves(1);
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_CHILD({
        TEST_SUCC(write(pipes[1], "hello", 5));
        TEST_RES(read(pipes[0], &AT(p, 4), 100), _ret == 5);
        TEST_EQ(memcmp(&AT(p, 4), "hello", 5), 0);
        TEST_SUCC(syscall(SYS_uname, &AT(p, 5)));
        TEST_STR((char *)&AT(p, 5), "Linux");
        TEST_CHECK(marked(p, 0, 4) && marked(p, 6, 512));
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ TEST_RES(write(pipes[1], &AT(p, 511), TEST_PAGE), _ret == (long)TEST_PAGE); });
    unsigned char got[TEST_PAGE];
    TEST_RES(read(pipes[0], got, sizeof got), _ret == (long)TEST_PAGE);
    TEST_EQ(got[0], 511 % 251 + 1);
    close(pipes[0]), close(pipes[1]);
    drop(p, 1);
}

FN_TEST(h60_other_processes_write_into_a_leaf)
{
    unsigned char *p = leaves(1), v = 88, w = 0;
    struct turns t = turns_new();
    char path[64];
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_EQ(AT(p, 80), 88);
        TEST_EQ(AT(p, 90), 99);
        TEST_CHECK(marked(p, 0, 80) && marked(p, 91, 512));
        _exit(0);
    }
    struct iovec local = {&v, 1}, remote = {&AT(p, 80), 1}, to = {&w, 1}, from = {&AT(p, 81), 1};
    TEST_RES(process_vm_readv(pid, &to, 1, &from, 1, 0), _ret == 1 && w == 82);
    TEST_RES(process_vm_writev(pid, &local, 1, &remote, 1, 0), _ret == 1);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = TEST_SUCC(open(path, O_RDWR));
    TEST_RES(pread(fd, &w, 1, (long)&AT(p, 82)), _ret == 1 && w == 83);
    TEST_RES(pwrite(fd, "c", 1, (long)&AT(p, 90)), _ret == 1);
    close(fd);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 512));
    turns_free(&t);
    drop(p, 1);
}
