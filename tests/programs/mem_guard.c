/* MADV_GUARD_INSTALL and MADV_GUARD_REMOVE: pages that nobody can come to, in mappings that stay as they are. */
#include "test.h"

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define INSTALL 102
#define REMOVE 103
#define POPULATE_READ 22
#define POPULATE_WRITE 23
#define HIT(p) TEST_FAULTS(SIGSEGV, SEGV_MAPERR, (p), TEST_PEEK(p))
#define HIT_BY_STORE(p) TEST_FAULTS(SIGSEGV, SEGV_MAPERR, (p), TEST_POKE(p, 1))

/* Eight pages with their numbers in them, the second to fourth guarded. */
static unsigned char *guarded(void)
{
    unsigned char *p = test_map(8 * TEST_PAGE);
    for (int i = 0; i < 8; i++)
        p[i * TEST_PAGE] = i;
    TEST_SUCC(madvise(p + TEST_PAGE, 3 * TEST_PAGE, INSTALL));
    return p;
}

static uint64_t pagemap(const void *p)
{
    uint64_t word = 0;
    int fd = TEST_SUCC(open("/proc/self/pagemap", O_RDONLY));
    TEST_RES(pread(fd, &word, 8, (uintptr_t)p / TEST_PAGE * 8), _ret == 8);
    close(fd);
    return word >> 56;
}

FN_TEST(guards_and_what_they_leave)
{
    unsigned char *p = guarded(), seen[8];
    HIT(p + TEST_PAGE);
    HIT_BY_STORE(p + 2 * TEST_PAGE);
    TEST_EQ(p[4 * TEST_PAGE], 4);
    TEST_SUCC(mincore(p, 8 * TEST_PAGE, seen));
    for (int i = 0; i < 8; i++)
        TEST_EQ(seen[i] & 1, i < 1 || i > 3);
    TEST_EQ(pagemap(p + TEST_PAGE), 0x44); /* PM_SWAP, PM_GUARD_REGION */
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, REMOVE));
    for (int i = 0; i < 8; i++)
        TEST_EQ(p[i * TEST_PAGE], i < 1 || i > 3 ? i : 0);
}

FN_TEST(guards_stay_until_the_mapping_goes)
{
    unsigned char *p = guarded();
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, MADV_DONTNEED));
    HIT(p + 2 * TEST_PAGE);
    TEST_EQ(p[5 * TEST_PAGE], 0);
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, MADV_FREE));
    HIT(p + 2 * TEST_PAGE);
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, 20)); /* MADV_COLD */
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, 21)); /* MADV_PAGEOUT */
    HIT(p + 2 * TEST_PAGE);
    TEST_SUCC(mprotect(p, 8 * TEST_PAGE, PROT_NONE));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 2 * TEST_PAGE, TEST_PEEK(p + 2 * TEST_PAGE));
    TEST_SUCC(mprotect(p, 8 * TEST_PAGE, RW));
    HIT_BY_STORE(p + 3 * TEST_PAGE);
    TEST_SUCC(mmap(p, 8 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
    TEST_EQ(p[2 * TEST_PAGE], 0);
}

FN_TEST(guards_move)
{
    unsigned char *p = guarded();
    unsigned char *q = test_map(8 * TEST_PAGE);
    TEST_SUCC(mremap(p, 8 * TEST_PAGE, 8 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
    HIT(q + TEST_PAGE);
    TEST_EQ(q[4 * TEST_PAGE], 4);
    TEST_SUCC(madvise(q, 8 * TEST_PAGE, REMOVE));
    TEST_EQ(q[TEST_PAGE], 0);
}

FN_TEST(guards_and_fork)
{
    unsigned char *p = guarded();
    TEST_CHILD({
        HIT(p + TEST_PAGE);
        p[4 * TEST_PAGE] = 9;
        HIT_BY_STORE(p + 2 * TEST_PAGE);
        TEST_SUCC(madvise(p, 8 * TEST_PAGE, REMOVE));
        p[2 * TEST_PAGE] = 1;
        TEST_SUCC(madvise(p + 5 * TEST_PAGE, TEST_PAGE, INSTALL));
        TEST_CHILD({
            TEST_EQ(p[2 * TEST_PAGE], 1);
            HIT(p + 5 * TEST_PAGE);
        });
    });
    HIT(p + 2 * TEST_PAGE);
    TEST_EQ(p[4 * TEST_PAGE], 4);
    TEST_EQ(p[5 * TEST_PAGE], 5);
    pid_t child = TEST_SUCC(fork());
    if (child == 0) {
        p[0] = 1;
        _exit(0);
    }
    TEST_REAP(child);
    TEST_SUCC(madvise(p + 2 * TEST_PAGE, TEST_PAGE, REMOVE));
    TEST_EQ(p[2 * TEST_PAGE], 0);
    HIT(p + TEST_PAGE);
}

FN_TEST(guards_over_many_tables_and_fork)
{
    unsigned char *p = test_map(6 * TEST_TABLE);
    for (int i = 0; i < 6; i++)
        p[i * TEST_TABLE + TEST_TABLE / 2] = i + 1;
    TEST_SUCC(madvise(p + TEST_TABLE, 2 * TEST_TABLE, INSTALL));
    TEST_CHILD({
        HIT(p + TEST_TABLE);
        TEST_SUCC(madvise(p, 6 * TEST_TABLE, MADV_DONTNEED));
        HIT_BY_STORE(p + 2 * TEST_TABLE);
        TEST_EQ(p[3 * TEST_TABLE + TEST_TABLE / 2], 0);
        TEST_SUCC(madvise(p + TEST_TABLE, TEST_TABLE, REMOVE));
        TEST_EQ(p[TEST_TABLE], 0);
        HIT(p + 2 * TEST_TABLE);
    });
    HIT(p + TEST_TABLE);
    TEST_EQ(p[3 * TEST_TABLE + TEST_TABLE / 2], 4);
    TEST_SUCC(munmap(p + TEST_TABLE, TEST_TABLE));
    HIT(p + 3 * TEST_TABLE - 1);
}

FN_TEST(guards_and_system_calls)
{
    unsigned char *p = guarded();
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_RES(write(pipes[1], p, 2 * TEST_PAGE), _ret == (ssize_t)TEST_PAGE);
    TEST_ERRNO(write(pipes[1], p + TEST_PAGE, 10), EFAULT);
    TEST_ERRNO(read(pipes[0], p + TEST_PAGE, 10), EFAULT);
    TEST_ERRNO(madvise(p, 8 * TEST_PAGE, POPULATE_READ), EFAULT);
    TEST_ERRNO(madvise(p, 8 * TEST_PAGE, POPULATE_WRITE), EFAULT);
    char byte;
    int fd = TEST_SUCC(open("/proc/self/mem", O_RDWR));
    TEST_ERRNO(pread(fd, &byte, 1, (uintptr_t)p + TEST_PAGE), EIO);
    TEST_ERRNO(pwrite(fd, "x", 1, (uintptr_t)p + TEST_PAGE), EIO);
    TEST_SUCC(munmap(p + 7 * TEST_PAGE, TEST_PAGE));
    TEST_ERRNO(madvise(p + 6 * TEST_PAGE, 2 * TEST_PAGE, INSTALL), ENOMEM);
    HIT(p + 6 * TEST_PAGE);
}

FN_TEST(guards_and_locked_memory)
{
    unsigned char *p = guarded();
    TEST_ERRNO(mlock(p, 8 * TEST_PAGE), ENOMEM); /* locked all the same */
    TEST_ERRNO(madvise(p, TEST_PAGE, INSTALL), EINVAL);
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, REMOVE));
    TEST_EQ(p[TEST_PAGE], 0);
    HIT(p + 2 * TEST_PAGE);
}

FN_TEST(guards_in_shared_memory_and_files)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    p[0] = 7;
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, INSTALL));
    HIT(p);
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, REMOVE));
    TEST_EQ(p[0], 7);
    int fd = TEST_SUCC(memfd_create("guards", 0));
    TEST_SUCC(ftruncate(fd, 8 * TEST_PAGE));
    p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    p[TEST_PAGE] = p[3 * TEST_PAGE] = 3;
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, INSTALL));
    HIT(p + TEST_PAGE);
    TEST_SUCC(ftruncate(fd, 0));
    HIT(p + TEST_PAGE);
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + 3 * TEST_PAGE, TEST_PEEK(p + 3 * TEST_PAGE));
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, REMOVE));
    TEST_FAULTS(SIGBUS, BUS_ADRERR, p + TEST_PAGE, TEST_PEEK(p + TEST_PAGE));
}

FN_TEST(guards_and_2_mib_pages)
{
    unsigned char *p = TEST_SUCC(mmap((void *)0x200000000000, 2 * TEST_TABLE, RW, ANON | MAP_FIXED, -1, 0));
    memset(p, 5, TEST_TABLE);
    TEST_SUCC(madvise(p, TEST_TABLE, 25)); /* MADV_COLLAPSE */
    TEST_SUCC(madvise(p + 5 * TEST_PAGE, TEST_PAGE, INSTALL));
    HIT(p + 5 * TEST_PAGE);
    TEST_EQ(p[6 * TEST_PAGE], 5);
    TEST_ERRNO(madvise(p, TEST_TABLE, 25), EINVAL);
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, REMOVE));
    TEST_SUCC(madvise(p, TEST_TABLE, 25));
    TEST_EQ(p[5 * TEST_PAGE], 0);
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, INSTALL));
    HIT_BY_STORE(p + TEST_TABLE);
    TEST_SUCC(madvise(p, 2 * TEST_TABLE, MADV_WIPEONFORK));
    TEST_CHILD({ TEST_EQ(p[0], 0); });
    HIT(p);
}
