/* On-demand fork, hazard 60: mapping calls on a part of a 2 MiB page split it, for the caller only. */
#include "huge.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif

FN_TEST(h60_unmap_a_part)
{
    static const int ranges[][2] = {{0, 1}, {200, 201}, {511, 512}, {0, 256}, {256, 512}, {100, 600}, {500, 1100}};
    for (unsigned k = 0; k < sizeof ranges / sizeof *ranges; k++) {
        int from = ranges[k][0], to = ranges[k][1];
        for (int parent = 0; parent < 2; parent++) {
            unsigned char *p = leaves(3);
            struct turns t = turns_new();
            pid_t pid = TEST_SUCC(fork());
            if (parent == (pid != 0)) {
                TEST_SUCC(munmap(&AT(p, from), (to - from) * TEST_PAGE));
                TEST_CHECK(marked(p, 0, from) && marked(p, to, 1536));
                TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, from), TEST_PEEK(&AT(p, from)));
                TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, to) - 1, TEST_POKE(&AT(p, to) - 1, 1));
                if (from)
                    AT(p, from - 1) = 0;
                AT(p, to) = 0;
                pid ? parent_says(&t) : child_says(&t);
            } else {
                pid ? parent_hears(&t) : child_hears(&t);
                TEST_CHECK(marked(p, 0, 1536));
                mark(p, 1536);
            }
            if (pid == 0)
                _exit(0);
            TEST_REAP(pid);
            turns_free(&t);
            TEST_SUCC(munmap(p, 3 * TEST_TABLE));
        }
    }
}

FN_TEST(h60_unmap_whole_leaves)
{
    unsigned char *p = leaves(3);
    TEST_CHILD({
        TEST_SUCC(munmap(p + TEST_TABLE, TEST_TABLE));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 512), TEST_PEEK(&AT(p, 512)));
        TEST_CHECK(marked(p, 0, 512) && marked(p, 1024, 1536));
        EXPECT_LEAVES(p, 3 * TEST_TABLE, 2);
        TEST_SUCC(mmap(p + TEST_TABLE, TEST_TABLE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)); /* anew, and zero */
        for (int i = 512; i < 1024; i++)
            TEST_EQ(AT(p, i), 0);
        AT(p, 600) = 1;
        TEST_CHILD({ TEST_EQ(AT(p, 600), 1); TEST_EQ(AT(p, 601), 0); });
        TEST_SUCC(munmap(p, 3 * TEST_TABLE));
    });
    TEST_CHECK(marked(p, 0, 1536));
    EXPECT_LEAVES(p, 3 * TEST_TABLE, 3);
    drop(p, 3);
}

FN_TEST(h60_protect_a_part)
{
    unsigned char *p = leaves(1);
    TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, PROT_NONE)); /* P's own guard page */
    TEST_CHILD({
        unsigned char *page = &AT(p, 20);
        TEST_SUCC(mprotect(page, TEST_PAGE, PROT_NONE));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, page, TEST_PEEK(page));
        TEST_SUCC(mprotect(page, TEST_PAGE, PROT_READ));
        TEST_EQ(*page, 21);
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, page, TEST_POKE(page, 1));
        TEST_SUCC(mprotect(page, TEST_PAGE, RW));
        *page = 1;
        TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, RW));
        TEST_EQ(AT(p, 10), 11);
        AT(p, 10) = 2;
        TEST_CHECK(marked(p, 0, 10) && marked(p, 11, 20) && marked(p, 21, 512));
    });
    TEST_NO_FAULT(TEST_POKE(&AT(p, 20), 21));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 10), TEST_PEEK(&AT(p, 10)));
    TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, RW));
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
    p = leaves(1); /* split only in the child */
    TEST_CHILD({
        TEST_SUCC(mprotect(&AT(p, 100), 100 * TEST_PAGE, PROT_READ));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 150), TEST_POKE(&AT(p, 150), 1));
        AT(p, 99) = AT(p, 200) = 0;
        TEST_CHECK(marked(p, 0, 99) && marked(p, 100, 200) && marked(p, 201, 512));
    });
    EXPECT_LEAVES(p, TEST_TABLE, 1);
    TEST_NO_FAULT(mark(p, 512));
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h60_protect_a_whole_leaf)
{
    unsigned char *p = leaves(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_NONE));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 3), TEST_PEEK(&AT(p, 3)));
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
        TEST_SUCC(mprotect(p, TEST_TABLE, RW));
        child_says(&t);
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512)); /* P has written */
        AT(p, 1) = 7;
        child_says(&t);
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 0) = 99;
    AT(p, 500) = 98;
    parent_says(&t);
    parent_hears(&t);
    TEST_EQ(AT(p, 1), 2);
    TEST_EQ(AT(p, 0), 99);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h60_read_only_leaf)
{
    for (int how = 0; how < 3; how++) {
        unsigned char *p = leaves(1);
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
        TEST_CHILD({
            TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 100) + 5, TEST_POKE(&AT(p, 100) + 5, 1));
            if (how == 1)
                TEST_SUCC(munmap(p, TEST_TABLE));
            if (how == 2) {
                TEST_SUCC(mprotect(p, TEST_TABLE, RW));
                mark(p, 100);
                AT(p, 100) = 9;
            }
        });
        TEST_CHECK(marked(p, 0, 512));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1));
        TEST_SUCC(mprotect(p, TEST_TABLE, RW));
        AT(p, 0) = 9;
        TEST_CHECK(marked(p, 1, 512));
        drop(p, 1);
    }
}

FN_TEST(h60_dontneed)
{
    unsigned char *p = leaves(2);
    TEST_CHILD({ /* a part */
        TEST_SUCC(madvise(&AT(p, 77), 3 * TEST_PAGE, MADV_DONTNEED));
        for (int i = 77; i < 80; i++)
            TEST_EQ(AT(p, i), 0);
        TEST_CHECK(marked(p, 0, 77) && marked(p, 80, 1024));
    });
    TEST_CHILD({ /* one whole, one in part */
        TEST_SUCC(madvise(p, TEST_TABLE + 10 * TEST_PAGE, MADV_DONTNEED));
        for (int i = 0; i < 522; i++)
            TEST_EQ(AT(p, i), 0);
        TEST_CHECK(marked(p, 522, 1024));
        AT(p, 3) = 9;
        TEST_EQ(AT(p, 4), 0);
    });
    TEST_CHECK(marked(p, 0, 1024));
    EXPECT_LEAVES(p, 2 * TEST_TABLE, 2);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork()); /* the parent's side */
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 1024));
        _exit(0);
    }
    TEST_SUCC(madvise(&AT(p, 500), 100 * TEST_PAGE, MADV_DONTNEED));
    for (int i = 500; i < 600; i++)
        TEST_EQ(AT(p, i), 0);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 500) && marked(p, 600, 1024));
    turns_free(&t);
    drop(p, 2);
}

FN_TEST(h60_free_cold_pageout)
{
    unsigned char *p = leaves(2);
    TEST_CHILD({
        TEST_SUCC(madvise(&AT(p, 100), 10 * TEST_PAGE, MADV_COLD));
        TEST_SUCC(madvise(&AT(p, 110), 10 * TEST_PAGE, MADV_PAGEOUT));
        TEST_CHECK(marked(p, 0, 1024));
        TEST_SUCC(madvise(&AT(p, 120), 10 * TEST_PAGE, MADV_FREE));
        TEST_SUCC(madvise(&AT(p, 512), TEST_TABLE, MADV_FREE));
        for (int i = 120; i < 1024; i = i == 129 ? 512 : i + 1)
            TEST_CHECK(AT(p, i) == 0 || AT(p, i) == i % 251 + 1);
        AT(p, 125) = AT(p, 700) = 200;
        TEST_EQ(AT(p, 125), 200);
        TEST_EQ(AT(p, 700), 200);
        TEST_CHECK(marked(p, 130, 512));
    });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h60_dontfork_and_wipeonfork)
{
    unsigned char *p = leaves(2); /* each splits a leaf, in P */
    TEST_SUCC(madvise(&AT(p, 200), 2 * TEST_PAGE, MADV_DONTFORK));
    TEST_SUCC(madvise(&AT(p, 700), 2 * TEST_PAGE, MADV_WIPEONFORK));
    TEST_CHECK(marked(p, 0, 1024));
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 200), TEST_PEEK(&AT(p, 200)));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 201), TEST_POKE(&AT(p, 201), 1));
        TEST_EQ(AT(p, 700), 0);
        AT(p, 701) = 7;
        TEST_CHECK(marked(p, 0, 200) && marked(p, 202, 700) && marked(p, 702, 1024));
        TEST_SUCC(mmap(&AT(p, 200), TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
        TEST_EQ(AT(p, 200), 0);
        TEST_CHILD({ TEST_EQ(AT(p, 200), 0); TEST_EQ(AT(p, 701), 0); TEST_CHECK(marked(p, 702, 1024)); });
        TEST_EQ(AT(p, 701), 7);
    });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
    p = leaves(3); /* whole leaves beside one that is inherited */
    TEST_SUCC(madvise(p, TEST_TABLE, MADV_DONTFORK));
    TEST_SUCC(madvise(p + 2 * TEST_TABLE, TEST_TABLE, MADV_WIPEONFORK));
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p, TEST_PEEK(p));
        TEST_CHECK(marked(p, 512, 1024));
        for (int i = 1024; i < 1536; i++)
            TEST_EQ(AT(p, i), 0);
        AT(p, 1024) = AT(p, 1023) = 5;
    });
    TEST_CHECK(marked(p, 0, 1536));
    EXPECT_LEAVES(p, 3 * TEST_TABLE, 3);
    drop(p, 3);
}

FN_TEST(h60_mremap)
{
    unsigned char *p = leaves(1), *to = test_map_aligned(3 * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(to, 3 * TEST_TABLE));
    for (int offset = 0; offset < 2; offset++) { /* to an aligned and to an odd place */
        unsigned char *at = to + offset * TEST_PAGE;
        TEST_CHILD({ /* a part */
            TEST_SUCC(mremap(&AT(p, 10), 20 * TEST_PAGE, 20 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at));
            for (int i = 0; i < 20; i++)
                TEST_EQ(AT(at, i), i + 11);
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 10), TEST_PEEK(&AT(p, 10)));
            TEST_CHECK(marked(p, 0, 10) && marked(p, 30, 512));
            AT(at, 1) = AT(p, 30) = 1;
        });
        TEST_CHECK(marked(p, 0, 512));
        TEST_CHILD({ /* all of it */
            TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, at));
            TEST_CHECK(marked(at, 0, 512));
            AT(at, 5) = 1;
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 10), TEST_PEEK(&AT(p, 10)));
        });
        TEST_CHECK(marked(p, 0, 512));
        TEST_CHILD({ /* grow by moving, then shrink into the leaf */
            TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE + 10 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at));
            TEST_CHECK(marked(at, 0, 512));
            TEST_EQ(AT(at, 515), 0);
            TEST_SUCC(mremap(at, TEST_TABLE + 10 * TEST_PAGE, 100 * TEST_PAGE, 0));
            TEST_CHECK(marked(at, 0, 100));
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(at, 100), TEST_PEEK(&AT(at, 100)));
        });
        TEST_CHECK(marked(p, 0, 512));
        TEST_CHILD({
            TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at));
            TEST_CHECK(marked(at, 0, 512));
            TEST_EQ(AT(p, 9), 0);
            AT(p, 9) = 1;
            TEST_EQ(AT(at, 9), 10);
        });
        TEST_CHECK(marked(p, 0, 512));
    }
    unsigned char *q = leaves(2); /* small pages onto a leaf that is shared */
    TEST_CHILD({
        TEST_SUCC(mremap(&AT(q, 10), 2 * TEST_PAGE, 2 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, &AT(q, 700)));
        TEST_EQ(AT(q, 700), 11);
        TEST_EQ(AT(q, 701), 12);
        TEST_CHECK(marked(q, 702, 1024) && marked(q, 12, 700));
        AT(q, 700) = AT(q, 702) = 1;
    });
    TEST_CHECK(marked(q, 0, 1024));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork()); /* and the parent moves its leaf while the child reads */
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    TEST_SUCC(mremap(p, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, to + TEST_TABLE));
    mark(to + TEST_TABLE, 256);
    AT(to, 1000) = 0;
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(to, 3);
    drop(q, 2);
}

FN_TEST(h60_figures)
{
    unsigned char vec[512], *p = leaves(1);
    TEST_CHILD({
        TEST_SUCC(mincore(p, TEST_TABLE, vec));
        for (int i = 0; i < 512; i++)
            TEST_EQ(vec[i] & 1, 1);
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Rss"), 2048);
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Anonymous"), 2048);
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Pss"), 1024);
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Shared_Dirty") + smaps_kb(p, TEST_TABLE, "Shared_Clean"), 2048);
        TEST_SUCC(munmap(&AT(p, 100), TEST_PAGE));
        TEST_EQ(smaps_kb(p, TEST_TABLE, "Rss"), 2044);
        EXPECT_LEAVES(p, TEST_TABLE, 0); /* split, and the 511 others still there */
        TEST_CHECK(marked(p, 0, 100) && marked(p, 101, 512));
    });
    TEST_EQ(smaps_kb(p, TEST_TABLE, "Rss"), 2048);
    EXPECT_LEAVES(p, TEST_TABLE, 1);
    uint64_t words[512];
    int fd = TEST_SUCC(open("/proc/self/pagemap", O_RDONLY));
    TEST_RES(pread(fd, words, sizeof words, (uintptr_t)p / TEST_PAGE * 8), _ret == (long)sizeof words);
    for (int i = 0; i < 512; i++)
        TEST_EQ(words[i] >> 61, 4); /* present, not swapped, not a file's */
    close(fd);
    drop(p, 1);
}

FN_TEST(h60_lock_and_populate)
{
    unsigned char vec[1024], *p = leaf_room(2);
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_POPULATE_WRITE));
    EXPECT_LEAVES(p, 2 * TEST_TABLE, 2);
    TEST_SUCC(mincore(p, 2 * TEST_TABLE, vec));
    for (int i = 0; i < 1024; i++)
        TEST_EQ(vec[i] & 1, 1);
    mark(p, 1024);
    TEST_CHILD({
        TEST_SUCC(mlock(&AT(p, 10), 4 * TEST_PAGE)); /* a part: splits the mapping */
        TEST_CHECK(marked(p, 0, 1024));
        AT(p, 11) = 1;
        TEST_SUCC(munlock(&AT(p, 10), 4 * TEST_PAGE));
        TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_POPULATE_WRITE));
        TEST_CHECK(marked(p, 12, 1024));
    });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h60_collapse)
{
    unsigned char *p = test_map_aligned(2 * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_NOHUGEPAGE));
    mark(p, 1024);
    TEST_EQ(smaps_kb(p, 2 * TEST_TABLE, "AnonHugePages"), 0);
    if (has_leaves())
        TEST_ERRNO(madvise(p, TEST_TABLE, MADV_COLLAPSE), EINVAL); /* told not to */
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_HUGEPAGE));
    TEST_CHILD({ /* while the table is shared */
        TEST_SUCC(madvise(p, TEST_TABLE, MADV_COLLAPSE));
        EXPECT_LEAVES(p, 2 * TEST_TABLE, 1);
        TEST_CHECK(marked(p, 0, 1024));
        AT(p, 1) = AT(p, 512) = 9;
    });
    TEST_CHECK(marked(p, 0, 1024));
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_COLLAPSE));
    EXPECT_LEAVES(p, 2 * TEST_TABLE, 2);
    TEST_CHECK(marked(p, 0, 1024));
    TEST_CHILD({ AT(p, 1) = AT(p, 512) = 9; TEST_CHECK(marked(p, 2, 512)); });
    TEST_CHECK(marked(p, 0, 1024));
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_NOHUGEPAGE)); /* what is there stays */
    TEST_CHECK(marked(p, 0, 1024));
    mark(p, 1024);
    drop(p, 2);
}

static unsigned char *hugetlb(int n)
{
    return mmap(NULL, n * TEST_TABLE, RW, ANON | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
}

FN_TEST(h60_hugetlb)
{
    unsigned char *p = hugetlb(4);
    if (p == MAP_FAILED) { /* none reserved (nr_hugepages) */
        TEST_EQ(errno, ENOMEM);
        return;
    }
    TEST_EQ((uintptr_t)p % TEST_TABLE, 0);
    TEST_EQ(AT(p, 600), 0);
    mark(p, 1024);
    TEST_CHILD({
        AT(p, 7) = 1;
        TEST_CHECK(marked(p, 0, 7) && marked(p, 8, 1024));
        TEST_ERRNO(munmap(p, TEST_PAGE), EINVAL);
        TEST_ERRNO(munmap(p + TEST_PAGE, TEST_TABLE), EINVAL);
        TEST_ERRNO(mprotect(p, TEST_PAGE, PROT_READ), EINVAL);
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 9), TEST_POKE(&AT(p, 9), 1));
        TEST_SUCC(munmap(p, TEST_TABLE));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 9), TEST_PEEK(&AT(p, 9)));
        TEST_CHECK(marked(p, 512, 1024));
    });
    TEST_CHECK(marked(p, 0, 1024));
    AT(p, 1023) = 3;
    TEST_CHECK(marked(p, 0, 1023));
    TEST_SUCC(munmap(p, 4 * TEST_TABLE));
}

static long promised(void) { return figure_kb("/proc/meminfo", "HugePages_Rsvd"); }

FN_TEST(h60_hugetlb_moves)
{
    long before = promised();
    unsigned char *p = hugetlb(3), *room = test_map_aligned(8 * TEST_TABLE, TEST_TABLE);
    if (p == MAP_FAILED) {
        TEST_EQ(errno, ENOMEM);
        return;
    }
    AT(p, 3) = 7;
    TEST_EQ(promised(), before + 2);
    unsigned char *q = mremap(p, 3 * TEST_TABLE, 3 * TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    TEST_CHECK(q == room);
    TEST_EQ(promised(), before + 2);
    TEST_EQ(AT(q, 3), 7);
    AT(q, 512) = 8;
    TEST_EQ(promised(), before + 1);
    TEST_ERRNO(mremap(q, 3 * TEST_TABLE, 3 * TEST_TABLE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED,
                      room + 4 * TEST_TABLE), EINVAL);
    TEST_SUCC(munmap(q, 3 * TEST_TABLE));
    TEST_EQ(promised(), before);
    TEST_SUCC(munmap(room, 8 * TEST_TABLE));
}

/* The child has moved its copy. Not played on a host, where unmap_ref_private looks at the old address only. */
FN_TEST(h60_hugetlb_promise_kept_from_a_mover)
{
    long free_pages = figure_kb("/proc/meminfo", "HugePages_Free") - promised();
    unsigned char *p = free_pages > 0 && access("/proc/self/use_odf", F_OK) == 0 ? hugetlb(free_pages) : MAP_FAILED;
    if (p == MAP_FAILED)
        return;
    for (long i = 0; i < free_pages; i++)
        AT(p, i * 512) = 1 + i;
    unsigned char *room = test_map_aligned(TEST_TABLE, TEST_TABLE);
    struct turns t = turns_new();
    pid_t child = TEST_SUCC(fork());
    if (child == 0) {
        TEST_CHECK(mremap(p, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
        TEST_EQ(AT(room, 0), 1);
        child_says(&t);
        child_hears(&t);
        TEST_FAULTS(SIGBUS, BUS_ADRERR, &AT(room, 0), TEST_PEEK(&AT(room, 0)));
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 0) = 77;
    TEST_EQ(AT(p, 0), 77);
    parent_says(&t);
    TEST_REAP(child);
    turns_free(&t);
    TEST_SUCC(munmap(p, free_pages * TEST_TABLE));
}

/* The pool is empty: the process that made the mapping can store, whatever its children hold. */
FN_TEST(h60_hugetlb_promise_kept)
{
    long free_pages = figure_kb("/proc/meminfo", "HugePages_Free") - promised();
    unsigned char *p = free_pages > 0 ? hugetlb(free_pages) : MAP_FAILED;
    if (p == MAP_FAILED)
        return;
    for (long i = 0; i < free_pages; i++)
        AT(p, i * 512) = 1 + i;
    int ready[2], go[2];
    char byte = 0;
    TEST_SUCC(pipe(ready));
    TEST_SUCC(pipe(go));
    pid_t child = TEST_SUCC(fork());
    if (child == 0) {
        close(go[1]);
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 0)
            _exit(1);
        /* Not even when there are free pages again, nor where the mapping never had one. */
        if (free_pages > 1) {
            TEST_EQ(AT(p, 512), 2);
            TEST_SUCC(madvise(&AT(p, 512), TEST_TABLE, MADV_DONTNEED));
            TEST_FAULTS(SIGBUS, BUS_ADRERR, &AT(p, 512), TEST_PEEK(&AT(p, 512)));
            TEST_FAULTS(SIGBUS, BUS_ADRERR, &AT(p, 0), TEST_POKE(&AT(p, 0), 1));
            TEST_CHILD({ /* its own child begins anew */
                TEST_EQ(AT(p, 0), 0);
            });
        }
        signal(SIGBUS, SIG_DFL);
        _exit(AT(p, 0));
    }
    TEST_EQ(read(ready[0], &byte, 1), 1);
    AT(p, 0) = 77;
    TEST_EQ(AT(p, 0), 77);
    if (free_pages > 1)
        TEST_SUCC(munmap(&AT(p, 512), TEST_TABLE));
    close(go[1]);
    int status;
    TEST_EQ(waitpid(child, &status, 0), child);
    TEST_EQ(status & 0x7F, SIGBUS);
    TEST_SUCC(munmap(p, free_pages * TEST_TABLE));
    close(go[0]), close(ready[0]), close(ready[1]);
}
