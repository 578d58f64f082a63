/* On-demand fork, hazard 59: pages that are swapped out and in through tables that P, C and G share.
 *
 * What one process alone and the kernel's own accesses see of swap is in mem_swap.c. */
#include "odf_scenes.h"
#include "swap.h"

FN_TEST(h59_child_reads_all)
{
    long n = too_many_pages();
    unsigned char *p = filled(n, 1);
    TEST_CHILD({
        EXPECT_PAGES(p, 0, n, 1);
        for (long i = n - 1; i >= 0; i -= 7)
            TEST_CHECK(page_holds(p, i, 1));
    });
    EXPECT_PAGES(p, 0, n, 1);
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_child_exits_without_a_touch)
{
    long n = too_many_pages();
    unsigned char *p = filled(n, 1);
    for (int round = 0; round < 3; round++) {
        TEST_CHILD({ });
        for (long i = round; i < n; i += 5)
            fill_page(p, i, 2 + round);
        for (long i = round; i < n; i += 5)
            TEST_CHECK(page_holds(p, i, 2 + round));
    }
    for (long i = 0; i < n; i++)
        TEST_CHECK(page_holds(p, i, i % 5 < 3 ? 2 + i % 5 : 1));
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

/* Who holds what after P wrote every 3rd, C every 5th and G every 7th page, each before the next was forked. */
static int view(const unsigned char *p, long n, int who)
{
    for (long i = 0; i < n; i++) {
        int salt = who >= 3 && i % 7 == 0 ? 4 : who >= 2 && i % 5 == 0 ? 3 : who >= 1 && i % 3 == 0 ? 2 : 1;
        if (!page_holds(p, i, salt))
            return 0;
    }
    return 1;
}

FN_TEST(h59_three_generations)
{
    long n = too_many_pages() * 3 / 4;
    unsigned char *p = filled(n, 1);
    struct turns t = turns_new(), u = turns_new();
    pid_t c = TEST_SUCC(fork());
    if (c == 0) {
        for (long i = 0; i < n; i += 3)
            fill_page(p, i, 2);
        pid_t g = TEST_SUCC(fork());
        if (g == 0) {
            for (long i = 0; i < n; i += 5)
                fill_page(p, i, 3);
            TEST_CHECK(view(p, n, 2));
            child_says(&u);
            child_hears(&u);
            for (long i = 0; i < n; i += 7)
                fill_page(p, i, 4);
            TEST_CHECK(view(p, n, 3));
            _exit(0);
        }
        parent_hears(&u);
        TEST_CHECK(view(p, n, 1));
        child_says(&t);
        child_hears(&t);
        TEST_CHECK(view(p, n, 1));
        parent_says(&u);
        TEST_REAP(g);
        TEST_CHECK(view(p, n, 1));
        _exit(0);
    }
    parent_hears(&t);
    TEST_CHECK(view(p, n, 0));
    for (long i = 1; i < n; i += 3)
        fill_page(p, i, 9);
    parent_says(&t);
    for (long i = 0; i < n; i++)
        TEST_CHECK(page_holds(p, i, i % 3 == 1 ? 9 : 1));
    TEST_REAP(c);
    for (long i = 0; i < n; i++)
        TEST_CHECK(page_holds(p, i, i % 3 == 1 ? 9 : 1));
    turns_free(&t);
    turns_free(&u);
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_all_exit_orders)
{
    unsigned char *p = table_of_pages(1);
    for (int round = 0; round < 2; round++) {
        press(); /* the table's pages are out when P is forked */
        all_exit_orders(p);
    }
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h59_swapped_out_while_shared)
{
    unsigned char *p = table_of_pages(2);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 1024));
        AT(p, 7) = 200;
        press();
        TEST_EQ(AT(p, 7), 200);
        TEST_CHECK(marked(p, 8, 1024));
        child_says(&t);
        child_hears(&t);
        TEST_EQ(AT(p, 9), 10);
        _exit(0);
    }
    press();
    parent_says(&t);
    parent_hears(&t);
    TEST_CHECK(marked(p, 0, 1024));
    AT(p, 9) = 99;
    press();
    parent_says(&t);
    TEST_REAP(pid);
    TEST_EQ(AT(p, 9), 99);
    TEST_CHECK(marked(p, 10, 1024));
    turns_free(&t);
    drop(p, 2);
}

FN_TEST(h59_mapping_calls_of_the_child)
{
    unsigned char *p = table_of_pages(2), *to = test_map_aligned(2 * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(to, 2 * TEST_TABLE));
    press();
    TEST_CHILD({
        TEST_SUCC(munmap(&AT(p, 100), 600 * TEST_PAGE));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 100), TEST_PEEK(&AT(p, 100)));
        TEST_CHECK(marked(p, 0, 100) && marked(p, 700, 1024));
    });
    press();
    TEST_CHILD({
        TEST_SUCC(madvise(&AT(p, 100), 600 * TEST_PAGE, MADV_DONTNEED));
        for (int i = 100; i < 700; i++)
            TEST_EQ(AT(p, i), 0);
        TEST_CHECK(marked(p, 0, 100) && marked(p, 700, 1024));
    });
    press();
    TEST_CHILD({
        TEST_SUCC(madvise(p, 100 * TEST_PAGE, MADV_FREE));
        for (int i = 0; i < 100; i++)
            TEST_CHECK(AT(p, i) == 0 || AT(p, i) == i + 1);
        AT(p, 50) = 3;
        press();
        TEST_EQ(AT(p, 50), 3);
        TEST_CHECK(marked(p, 100, 1024));
    });
    press();
    TEST_CHILD({
        TEST_SUCC(mprotect(&AT(p, 20), 10 * TEST_PAGE, PROT_NONE));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 20), TEST_PEEK(&AT(p, 20)));
        TEST_SUCC(mprotect(&AT(p, 20), 10 * TEST_PAGE, PROT_READ));
        TEST_CHECK(marked(p, 0, 1024));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 21), TEST_POKE(&AT(p, 21), 1));
        TEST_SUCC(mprotect(&AT(p, 20), 10 * TEST_PAGE, RW));
        AT(p, 21) = 9;
        press();
        TEST_EQ(AT(p, 21), 9);
    });
    press();
    TEST_CHILD({
        TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, to + TEST_PAGE));
        press();
        TEST_CHECK(marked(to + TEST_PAGE, 0, 512) && marked(p, 512, 1024));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 10), TEST_PEEK(&AT(p, 10)));
        AT(to, 3) = 1;
    });
    press();
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h59_mapping_calls_of_the_parent)
{
    unsigned char *p = table_of_pages(2), *to = test_map_aligned(TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(to, TEST_TABLE));
    press();
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 1024));
        press();
        TEST_CHECK(marked(p, 0, 1024));
        _exit(0);
    }
    TEST_SUCC(munmap(p, 100 * TEST_PAGE));
    TEST_SUCC(madvise(&AT(p, 100), 100 * TEST_PAGE, MADV_DONTNEED));
    TEST_SUCC(mprotect(&AT(p, 200), 100 * TEST_PAGE, PROT_READ));
    TEST_SUCC(mremap(p + TEST_TABLE, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    AT(to, 0) = 1;
    press();
    parent_says(&t);
    TEST_REAP(pid);
    for (int i = 100; i < 200; i++)
        TEST_EQ(AT(p, i), 0);
    TEST_CHECK(marked(p, 200, 512));
    for (int i = 1; i < 512; i++)
        TEST_EQ(AT(to, i), (512 + i) % 251 + 1);
    turns_free(&t);
    drop(p, 1);
    drop(to, 1);
}

FN_TEST(h59_dontfork_and_wipeonfork)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(madvise(&AT(p, 200), 2 * TEST_PAGE, MADV_DONTFORK));
    TEST_SUCC(madvise(&AT(p, 300), 2 * TEST_PAGE, MADV_WIPEONFORK));
    press();
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 200), TEST_PEEK(&AT(p, 200)));
        TEST_EQ(AT(p, 300), 0);
        AT(p, 301) = 7;
        press();
        TEST_EQ(AT(p, 301), 7);
        TEST_CHECK(marked(p, 0, 200) && marked(p, 202, 300) && marked(p, 302, 512));
    });
    press();
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h59_switch_toggled)
{
    unsigned char *p = table_of_pages(1);
    int odf = 1;
    for (int i = 0; i < 4; i++) {
        if (test_odf)
            TEST_SUCC(test_set_odf(odf = !odf));
        press();
        TEST_CHILD({
            AT(p, 30 + i) = 200;
            press();
            TEST_EQ(AT(p, 30 + i), 200);
            TEST_CHILD({ TEST_EQ(AT(p, 30 + i), 200); TEST_CHECK(marked(p, 40, 512)); AT(p, 50) = 0; });
            TEST_CHECK(marked(p, 40, 512));
        });
        TEST_CHECK(marked(p, 0, 512));
    }
    if (test_odf)
        TEST_SUCC(test_set_odf(1));
    drop(p, 1);
}

FN_TEST(h59_chain_of_forks)
{
    unsigned char *p = table_of_pages(1);
    int depth = 0;
    pid_t pid = 0;
    for (; depth < 6; depth++) {
        AT(p, depth) = 240;
        if (depth % 2)
            press();
        if ((pid = TEST_SUCC(fork())) != 0)
            break;
    }
    if (depth < 6)
        TEST_REAP(pid);
    for (int i = 0; i < 512; i++)
        TEST_EQ(AT(p, i), i <= depth && i < 6 ? 240 : i % 251 + 1);
    if (getpid() != test_pid)
        _exit(0);
    drop(p, 1);
}

/* 2 MiB pages that nobody uses go out as well, below tables that are shared too. */
FN_TEST(h59_leaves_of_parent_and_child)
{
    enum { LEAVES = 6, PAGES = LEAVES * 512 };
    unsigned char *p = test_map_aligned(LEAVES * TEST_TABLE, TEST_TABLE);
    struct turns t = turns_new();
    int swaps = must_swap(too_many_pages());
    TEST_SUCC(madvise(p, LEAVES * TEST_TABLE, MADV_HUGEPAGE));
    for (long i = 0; i < PAGES; i++)
        fill_page(p, i, 1);
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        press(), press(); /* the first round takes their Accessed bits */
        TEST_CHECK(!swaps || figure_kb("/proc/self/status", "VmSwap") >= PAGES * 4 / 2);
        child_says(&t);
        child_hears(&t);
        for (long i = 0; i < PAGES; i += 3)
            fill_page(p, i, 2);
        for (long i = 0; i < PAGES; i++)
            TEST_CHECK(page_holds(p, i, i % 3 ? 1 : 2));
        press();
        for (long i = 0; i < PAGES; i++)
            TEST_CHECK(page_holds(p, i, i % 3 ? 1 : 2));
        _exit(0);
    }
    parent_hears(&t);
    TEST_CHECK(!swaps || figure_kb("/proc/self/status", "VmSwap") >= PAGES * 4 / 2);
    fill_page(p, 512, 3);
    parent_says(&t);
    TEST_REAP(pid);
    for (long i = 0; i < PAGES; i++)
        TEST_CHECK(page_holds(p, i, i == 512 ? 3 : 1));
    turns_free(&t);
    TEST_SUCC(munmap(p, LEAVES * TEST_TABLE));
}

FN_TEST(h59_nothing_stays_swapped)
{
    /* All that these tests swapped out is gone with its last mapping; the program's own few pages may be out. */
    TEST_CHECK(swap_used_kb() <= 4096);
}
