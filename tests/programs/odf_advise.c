/* On-demand fork, hazards 31-35: madvise and mremap on part of a shared table. */
#include "odf.h"

FN_TEST(h31_dontneed_of_one_page)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        hot(&AT(p, 77), 0);
        RAW_MADVISE(&AT(p, 77), TEST_PAGE, MADV_DONTNEED);
        TEST_EQ(TEST_PEEK(&AT(p, 77)), 0); /* at once, here and in what follows */
        TEST_CHECK(marked(p, 0, 77));
        TEST_CHECK(marked(p, 78, 512));
    });
    TEST_CHECK(marked(p, 0, 512));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    TEST_SUCC(madvise(&AT(p, 10), 5 * TEST_PAGE, MADV_DONTNEED)); /* the parent's side */
    for (int i = 10; i < 15; i++)
        TEST_EQ(AT(p, i), 0);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h31_dontneed_of_whole_tables)
{
    unsigned char *p = table_of_pages(2);
    TEST_CHILD({
        hot(&AT(p, 600), 0);
        RAW_MADVISE(p, 2 * TEST_TABLE, MADV_DONTNEED);
        TEST_EQ(TEST_PEEK(&AT(p, 600)), 0);
        for (int i = 0; i < 1024; i += 31)
            TEST_EQ(AT(p, i), 0);
        AT(p, 3) = 9;
    });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h32_free_cold_pageout)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        TEST_SUCC(madvise(&AT(p, 100), 10 * TEST_PAGE, MADV_COLD));
        TEST_SUCC(madvise(&AT(p, 110), 10 * TEST_PAGE, MADV_PAGEOUT));
        TEST_CHECK(marked(p, 0, 512));
        TEST_SUCC(madvise(&AT(p, 120), 10 * TEST_PAGE, MADV_FREE));
        for (int i = 120; i < 130; i++)
            TEST_CHECK(AT(p, i) == 0 || AT(p, i) == i + 1);
        AT(p, 125) = 200;
        TEST_EQ(AT(p, 125), 200);
        TEST_CHECK(marked(p, 130, 512));
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h32_remove)
{
    int fd = TEST_SUCC(memfd_create("remove", 0));
    TEST_SUCC(ftruncate(fd, 100 * TEST_PAGE));
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    TEST_SUCC(mmap(p, 100 * TEST_PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
    mark(p, 512);
    TEST_CHILD({
        TEST_SUCC(madvise(&AT(p, 20), 2 * TEST_PAGE, MADV_REMOVE)); /* the object's pages: for everybody */
        TEST_EQ(AT(p, 20), 0);
    });
    TEST_EQ(AT(p, 20), 0);
    TEST_EQ(AT(p, 21), 0);
    TEST_CHECK(marked(p, 22, 512));
    close(fd);
    drop(p, 1);
}

FN_TEST(h33_dontfork_neighbour)
{
    unsigned char *p = table_of_pages(1);
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_SUCC(madvise(&AT(p, 200), 2 * TEST_PAGE, MADV_DONTFORK));
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 200), TEST_PEEK(&AT(p, 200)));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 201), TEST_POKE(&AT(p, 201), 1));
        TEST_ERRNO(write(pipes[1], &AT(p, 200), 10), EFAULT);
        TEST_CHECK(marked(p, 0, 200));
        /* Mapped anew, it is zero, not the parent's. */
        TEST_SUCC(mmap(&AT(p, 200), TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
        TEST_EQ(AT(p, 200), 0);
        TEST_CHILD({ TEST_EQ(AT(p, 200), 0); TEST_CHECK(marked(p, 202, 512)); });
    });
    TEST_CHECK(marked(p, 0, 512));
    AT(p, 200) = 1;
    close(pipes[0]), close(pipes[1]);
    drop(p, 1);
}

FN_TEST(h34_wipeonfork_neighbour)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(madvise(&AT(p, 200), 2 * TEST_PAGE, MADV_WIPEONFORK));
    TEST_CHILD({
        TEST_EQ(AT(p, 200), 0);
        AT(p, 201) = 7;
        TEST_CHECK(marked(p, 0, 200));
        TEST_CHECK(marked(p, 202, 512));
        TEST_CHILD({ TEST_EQ(AT(p, 200), 0); TEST_EQ(AT(p, 201), 0); });
        TEST_EQ(AT(p, 201), 7);
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h35_mremap_out_of_a_shared_table)
{
    unsigned char *p = table_of_pages(1), *to = test_map_aligned(2 * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(to, 2 * TEST_TABLE));
    TEST_CHILD({ /* part */
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 10), {
            hot(&AT(p, 10), 0);
            RAW_MREMAP(&AT(p, 10), 20 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + TEST_PAGE);
            TEST_PEEK(&AT(p, 10));
        });
        TEST_EQ(AT(to, 1), 11);
        TEST_EQ(AT(to, 20), 30);
        TEST_CHECK(marked(p, 30, 512));
        AT(to, 1) = 1;
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ /* the whole table, table-aligned */
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 10), {
            hot(&AT(p, 10), 0);
            RAW_MREMAP(p, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
            TEST_PEEK(&AT(p, 10));
        });
        TEST_CHECK(marked(to, 0, 512));
        AT(to, 5) = 1;
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ /* grow by moving, then shrink */
        TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE + 10 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
        TEST_CHECK(marked(to, 0, 512));
        TEST_EQ(AT(to, 515), 0);
        TEST_SUCC(mremap(to, TEST_TABLE + 10 * TEST_PAGE, TEST_PAGE, 0));
        TEST_CHECK(marked(to, 0, 1));
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ /* DONTUNMAP */
        hot(&AT(p, 9), 0);
        RAW_MREMAP(p, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
        TEST_EQ(TEST_PEEK(&AT(p, 9)), 0);
        TEST_CHECK(marked(to, 0, 512));
        AT(p, 9) = 1;
        TEST_EQ(AT(to, 9), 10);
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({ /* a part, to where the kernel likes: nothing else of the call unmaps anything */
        hot(&AT(p, 9), 0);
        unsigned char *there = (void *)RAW_MREMAP(&AT(p, 5), 10 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
        TEST_EQ(TEST_PEEK(&AT(p, 9)), 0);
        TEST_EQ(AT(there, 4), 10);
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h35_mremap_onto_a_shared_destination)
{
    unsigned char *p = table_of_pages(2);
    TEST_CHILD({
        hot(&AT(p, 700), 0);
        RAW_MREMAP(&AT(p, 10), 2 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, &AT(p, 700));
        TEST_EQ(TEST_PEEK(&AT(p, 700)), 11);
        TEST_EQ(AT(p, 701), 12);
        TEST_CHECK(marked(p, 702, 1024));
        TEST_CHECK(marked(p, 12, 700));
        AT(p, 700) = 1;
    });
    TEST_CHECK(marked(p, 0, 1024));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 1024));
        _exit(0);
    }
    TEST_SUCC(mremap(&AT(p, 10), 2 * TEST_PAGE, 2 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, &AT(p, 700)));
    AT(p, 700) = 1;
    TEST_EQ(AT(p, 701), 12);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 2);
}
