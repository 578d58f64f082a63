/* mremap: grow in place, shrink, move, FIXED, DONTUNMAP; what it refuses. */
#include "test.h"

static void *remap(void *old, size_t old_size, size_t new_size, int flags, void *to)
{
    return (void *)syscall(SYS_mremap, old, old_size, new_size, flags, to);
}

static unsigned char *numbered(int pages)
{
    unsigned char *p = test_map(pages * TEST_PAGE);
    for (int i = 0; i < pages; i++)
        p[i * TEST_PAGE + 1] = i + 1;
    return p;
}

static int is_numbered(unsigned char *p, int pages)
{
    for (int i = 0; i < pages; i++)
        if (p[i * TEST_PAGE + 1] != i + 1)
            return 0;
    return 1;
}

/* A reserved, empty range to move things about in. */
static unsigned char *room(int pages)
{
    unsigned char *p = test_map(pages * TEST_PAGE);
    TEST_SUCC(munmap(p, pages * TEST_PAGE));
    return p;
}

FN_TEST(shrink)
{
    unsigned char *p = numbered(6);
    TEST_RES(remap(p, 6 * TEST_PAGE, 2 * TEST_PAGE, 0, 0), _ret == (long)p);
    TEST_CHECK(is_numbered(p, 2));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 2 * TEST_PAGE, TEST_PEEK(p + 2 * TEST_PAGE));
}

FN_TEST(grow_in_place)
{
    unsigned char *p = room(8);
    TEST_SUCC(mmap(p, 2 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
    p[1] = 1, p[TEST_PAGE + 1] = 2;
    TEST_RES(remap(p, 2 * TEST_PAGE, 5 * TEST_PAGE, 0, 0), _ret == (long)p);
    TEST_CHECK(is_numbered(p, 2));
    TEST_EQ(p[4 * TEST_PAGE + 9], 0);
    p[4 * TEST_PAGE + 9] = 1;
}

FN_TEST(grow_is_refused_when_blocked)
{
    unsigned char *p = numbered(4);
    TEST_ERRNO(remap(p, 2 * TEST_PAGE, 3 * TEST_PAGE, 0, 0), ENOMEM);
    TEST_CHECK(is_numbered(p, 4));
}

FN_TEST(grow_by_moving)
{
    unsigned char *p = numbered(4);
    unsigned char *q = TEST_SUCC(remap(p, 2 * TEST_PAGE, 600 * TEST_PAGE, MREMAP_MAYMOVE, 0));
    TEST_CHECK(q != p);
    TEST_CHECK(is_numbered(q, 2));
    TEST_EQ(q[599 * TEST_PAGE], 0);
    q[599 * TEST_PAGE] = 1;
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p, TEST_PEEK(p));
    TEST_EQ(p[2 * TEST_PAGE + 1], 3);
}

FN_TEST(move_fixed)
{
    unsigned char *p = numbered(4), *to = test_map(8 * TEST_PAGE);
    memset(to, 0xaa, 8 * TEST_PAGE);
    TEST_RES(remap(p, 4 * TEST_PAGE, 4 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 2 * TEST_PAGE),
             _ret == (long)(to + 2 * TEST_PAGE));
    TEST_CHECK(is_numbered(to + 2 * TEST_PAGE, 4));
    TEST_EQ(to[TEST_PAGE], 0xaa);
    TEST_EQ(to[6 * TEST_PAGE], 0xaa);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 9, TEST_PEEK(p + 9));
}

FN_TEST(move_part_out_of_the_middle)
{
    unsigned char *p = numbered(6), *to = room(4);
    TEST_SUCC(remap(p + 2 * TEST_PAGE, 2 * TEST_PAGE, 2 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    TEST_EQ(to[1], 3);
    TEST_EQ(to[TEST_PAGE + 1], 4);
    TEST_CHECK(is_numbered(p, 2));
    TEST_EQ(p[4 * TEST_PAGE + 1], 5);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 3 * TEST_PAGE, TEST_PEEK(p + 3 * TEST_PAGE));
}

FN_TEST(move_fixed_with_shrink_and_grow)
{
    unsigned char *p = numbered(6), *to = room(16);
    TEST_SUCC(remap(p, 6 * TEST_PAGE, 3 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    TEST_CHECK(is_numbered(to, 3));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 5 * TEST_PAGE, TEST_PEEK(p + 5 * TEST_PAGE));
    TEST_SUCC(remap(to, 3 * TEST_PAGE, 5 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 8 * TEST_PAGE));
    TEST_CHECK(is_numbered(to + 8 * TEST_PAGE, 3));
    TEST_EQ(to[12 * TEST_PAGE], 0);
}

FN_TEST(move_across_tables)
{
    unsigned char *p = test_map_aligned(2 * TEST_TABLE, TEST_TABLE);
    for (unsigned i = 0; i < 1024; i++)
        *(unsigned *)(p + i * TEST_PAGE) = i;
    unsigned char *to = test_map_aligned(3 * TEST_TABLE, TEST_TABLE) + 5 * TEST_PAGE;
    TEST_SUCC(remap(p + TEST_PAGE, 1000 * TEST_PAGE, 1000 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    for (unsigned i = 0; i < 1000; i++)
        TEST_EQ(*(unsigned *)(to + i * TEST_PAGE), i + 1);
    TEST_EQ(*(unsigned *)(p + 1001 * TEST_PAGE), 1001);
    TEST_EQ(*(unsigned *)p, 0);
}

FN_TEST(move_after_fork_leaves_the_other_alone)
{
    unsigned char *p = numbered(6), *to = room(8);
    TEST_CHILD({
        TEST_SUCC(remap(p, 6 * TEST_PAGE, 6 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
        TEST_CHECK(is_numbered(to, 6));
        memset(to, 0, 6 * TEST_PAGE);
    });
    TEST_CHECK(is_numbered(p, 6));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, to, TEST_PEEK(to));
}

FN_TEST(dontunmap)
{
    unsigned char *p = numbered(3), *to = room(4);
    TEST_RES(remap(p, 3 * TEST_PAGE, 3 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to),
             _ret == (long)to);
    TEST_CHECK(is_numbered(to, 3));
    for (int i = 0; i < 3; i++)
        TEST_EQ(p[i * TEST_PAGE + 1], 0);
    p[1] = 77;
    TEST_EQ(to[1], 1);
    unsigned char *q = TEST_SUCC(remap(to, 3 * TEST_PAGE, 3 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0));
    TEST_CHECK(is_numbered(q, 3));
    TEST_EQ(to[1], 0);
    TEST_ERRNO(remap(q, 3 * TEST_PAGE, 4 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0), EINVAL);
}

FN_TEST(duplicate_a_shared_mapping)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    p[0] = 5;
    unsigned char *q = TEST_SUCC(remap(p, 0, 2 * TEST_PAGE, MREMAP_MAYMOVE, 0)); /* old size 0: a second view */
    TEST_CHECK(q != p);
    TEST_EQ(q[0], 5);
    q[TEST_PAGE] = 6;
    TEST_EQ(p[TEST_PAGE], 6);
    unsigned char *r = test_map(TEST_PAGE);
    TEST_ERRNO(remap(r, 0, TEST_PAGE, MREMAP_MAYMOVE, 0), EINVAL); /* not for private ones */
}

FN_TEST(shared_mapping_keeps_its_pages)
{
    int fd = TEST_SUCC(memfd_create("remap", 0));
    TEST_SUCC(ftruncate(fd, 4 * TEST_PAGE));
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED, fd, TEST_PAGE)), *to = room(8);
    p[0] = 9;
    TEST_SUCC(remap(p, 2 * TEST_PAGE, 3 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    TEST_EQ(to[0], 9);
    to[2 * TEST_PAGE] = 8;
    unsigned char b;
    TEST_SUCC(pread(fd, &b, 1, 3 * TEST_PAGE));
    TEST_EQ(b, 8);
    to[1] = 7;
    TEST_SUCC(pread(fd, &b, 1, TEST_PAGE + 1));
    TEST_EQ(b, 7);
    close(fd);
}

FN_TEST(refusals)
{
    unsigned char *p = numbered(4), *to = room(8);
    TEST_ERRNO(remap(p + 1, TEST_PAGE, TEST_PAGE, 0, 0), EINVAL);
    TEST_ERRNO(remap(p, TEST_PAGE, 0, 0, 0), EINVAL);
    TEST_ERRNO(remap(p, TEST_PAGE, TEST_PAGE, 64, 0), EINVAL);
    TEST_ERRNO(remap(p, TEST_PAGE, TEST_PAGE, MREMAP_FIXED, to), EINVAL); /* FIXED needs MAYMOVE */
    TEST_ERRNO(remap(p, TEST_PAGE, TEST_PAGE, MREMAP_DONTUNMAP, 0), EINVAL);
    TEST_ERRNO(remap(p, TEST_PAGE, TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1), EINVAL);
    TEST_ERRNO(remap(p, 4 * TEST_PAGE, 4 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + TEST_PAGE), EINVAL);
    TEST_ERRNO(remap(to, TEST_PAGE, 2 * TEST_PAGE, MREMAP_MAYMOVE, 0), EFAULT); /* nothing there */
    TEST_SUCC(munmap(p + 3 * TEST_PAGE, TEST_PAGE));
    TEST_ERRNO(remap(p, 4 * TEST_PAGE, 6 * TEST_PAGE, MREMAP_MAYMOVE, 0), EFAULT); /* runs over the end */
    TEST_CHECK(is_numbered(p, 3));
    TEST_ERRNO(remap(p, TEST_PAGE, 1UL << 46, MREMAP_MAYMOVE, 0), ENOMEM);
}

FN_TEST(protection_moves_along)
{
    unsigned char *p = numbered(2), *to = room(4);
    TEST_SUCC(mprotect(p, 2 * TEST_PAGE, PROT_READ));
    TEST_SUCC(remap(p, 2 * TEST_PAGE, 2 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    TEST_CHECK(is_numbered(to, 2));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, to, TEST_POKE(to, 1));
}

FN_TEST(realloc_of_large_blocks)
{
    size_t size = 1 << 20;
    unsigned char *p = malloc(size);
    for (size_t i = 0; i < size; i += 1000)
        p[i] = i;
    for (int round = 0; round < 5; round++)
        p = realloc(p, size << round);
    for (size_t i = 0; i < size; i += 1000)
        TEST_EQ(p[i], i & 255);
    free(p);
}
