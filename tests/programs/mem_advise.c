/* madvise, mincore, msync, the mlock family. */
#include "test.h"
#include <sys/resource.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static int file_of(int pages)
{
    int fd = TEST_SUCC(open("advise.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600));
    unlink("advise.tmp");
    unsigned char page[TEST_PAGE];
    for (int i = 0; i < pages; i++) {
        memset(page, 'a' + i, sizeof page);
        TEST_SUCC(write(fd, page, sizeof page));
    }
    return fd;
}

FN_TEST(dontneed_anonymous)
{
    unsigned char *p = test_map(8 * TEST_PAGE);
    memset(p, 1, 8 * TEST_PAGE);
    TEST_SUCC(madvise(p + 2 * TEST_PAGE, 3 * TEST_PAGE, MADV_DONTNEED));
    for (int i = 0; i < 8; i++)
        TEST_EQ(p[i * TEST_PAGE], i < 2 || i >= 5);
    p[3 * TEST_PAGE] = 2;
    TEST_EQ(p[3 * TEST_PAGE], 2);
}

FN_TEST(dontneed_private_file_shows_the_file_again)
{
    int fd = file_of(3);
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    p[TEST_PAGE] = '!';
    TEST_SUCC(madvise(p, 3 * TEST_PAGE, MADV_DONTNEED));
    TEST_EQ(p[TEST_PAGE], 'b');
    close(fd);
}

FN_TEST(dontneed_shared_keeps_the_data)
{
    int fd = file_of(2);
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    p[5] = '!';
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, MADV_DONTNEED));
    TEST_EQ(p[5], '!');
    unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    q[0] = 4;
    TEST_SUCC(madvise(q, TEST_PAGE, MADV_DONTNEED));
    TEST_EQ(q[0], 4);
    close(fd);
}

FN_TEST(free_is_zero_or_the_old_value)
{
    unsigned char *p = test_map(4 * TEST_PAGE);
    memset(p, 3, 4 * TEST_PAGE);
    TEST_SUCC(madvise(p, 4 * TEST_PAGE, MADV_FREE));
    for (int i = 0; i < 4; i++)
        TEST_CHECK(p[i * TEST_PAGE] == 3 || p[i * TEST_PAGE] == 0);
    memset(p, 4, 4 * TEST_PAGE);
    TEST_EQ(p[100], 4);
    int fd = file_of(1);
    p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    TEST_ERRNO(madvise(p, TEST_PAGE, MADV_FREE), EINVAL); /* anonymous only */
    close(fd);
}

FN_TEST(dontfork)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    memset(p, 5, 3 * TEST_PAGE);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_DONTFORK));
    TEST_CHILD({
        TEST_EQ(p[0], 5);
        TEST_EQ(p[2 * TEST_PAGE], 5);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + TEST_PAGE, TEST_PEEK(p + TEST_PAGE));
    });
    TEST_EQ(p[TEST_PAGE], 5);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_DOFORK));
    TEST_CHILD({ TEST_EQ(p[TEST_PAGE], 5); });
}

FN_TEST(wipeonfork)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    memset(p, 6, 3 * TEST_PAGE);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_WIPEONFORK));
    TEST_CHILD({
        TEST_EQ(p[0], 6);
        TEST_EQ(p[TEST_PAGE], 0);
        p[TEST_PAGE] = 7;
        TEST_CHILD({ TEST_EQ(p[TEST_PAGE], 0); }); /* inherited by the grandchild */
        TEST_EQ(p[TEST_PAGE], 7);
    });
    TEST_EQ(p[TEST_PAGE], 6);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_KEEPONFORK));
    TEST_CHILD({ TEST_EQ(p[TEST_PAGE], 6); });
    unsigned char *q = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    TEST_ERRNO(madvise(q, TEST_PAGE, MADV_WIPEONFORK), EINVAL); /* private anonymous only */
}

FN_TEST(remove_punches_a_hole)
{
    int fd = TEST_SUCC(memfd_create("hole", 0));
    TEST_SUCC(ftruncate(fd, 3 * TEST_PAGE));
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_SHARED, fd, 0)), b;
    memset(p, 9, 3 * TEST_PAGE);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_REMOVE));
    TEST_EQ(p[TEST_PAGE], 0);
    TEST_EQ(p[0], 9);
    TEST_SUCC(pread(fd, &b, 1, TEST_PAGE));
    TEST_EQ(b, 0);
    TEST_EQ(p[2 * TEST_PAGE], 9);
    unsigned char *q = test_map(TEST_PAGE);
    TEST_ERRNO(madvise(q, TEST_PAGE, MADV_REMOVE), EINVAL);
    close(fd);
}

FN_TEST(hints_change_nothing)
{
    static const int hints[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT,
                                MADV_DONTDUMP, MADV_DODUMP};
    unsigned char *p = test_map(4 * TEST_PAGE);
    memset(p, 8, 4 * TEST_PAGE);
    for (unsigned i = 0; i < sizeof hints / sizeof *hints; i++) {
        TEST_SUCC(madvise(p, 4 * TEST_PAGE, hints[i]));
        for (int k = 0; k < 4; k++)
            TEST_EQ(p[k * TEST_PAGE], 8);
    }
}

FN_TEST(madvise_refusals)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    p[0] = p[2 * TEST_PAGE] = 1;
    TEST_ERRNO(madvise(p + 1, TEST_PAGE, MADV_DONTNEED), EINVAL);
    TEST_ERRNO(madvise(p, TEST_PAGE, 12345), EINVAL);
    TEST_SUCC(madvise(p, 0, MADV_DONTNEED));
    TEST_ERRNO(madvise(p, ~0UL, MADV_DONTNEED), EINVAL);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    /* A hole: the rest is done, then ENOMEM. */
    TEST_ERRNO(madvise(p, 3 * TEST_PAGE, MADV_DONTNEED), ENOMEM);
    TEST_EQ(p[0], 0);
    TEST_EQ(p[2 * TEST_PAGE], 0);
}

FN_TEST(mincore_anonymous)
{
    unsigned char vec[8], *p = test_map(8 * TEST_PAGE);
    p[TEST_PAGE] = 1;
    p[6 * TEST_PAGE] = 1;
    TEST_SUCC(mincore(p, 8 * TEST_PAGE, vec));
    for (int i = 0; i < 8; i++)
        TEST_EQ(vec[i] & 1, i == 1 || i == 6);
    TEST_SUCC(madvise(p + TEST_PAGE, TEST_PAGE, MADV_DONTNEED));
    TEST_SUCC(mincore(p, 7 * TEST_PAGE + 1, vec));
    TEST_EQ(vec[1] & 1, 0);
}

FN_TEST(mincore_refusals)
{
    unsigned char vec[8], *p = test_map(4 * TEST_PAGE);
    TEST_ERRNO(mincore(p + 1, TEST_PAGE, vec), EINVAL);
    TEST_SUCC(mincore(p, 0, vec));
    TEST_ERRNO(mincore(p, TEST_PAGE, (void *)8), EFAULT);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_ERRNO(mincore(p, 4 * TEST_PAGE, vec), ENOMEM);
    TEST_ERRNO(mincore(p, ~0UL, vec), ENOMEM);
}

FN_TEST(msync_writes_through)
{
    int fd = file_of(3);
    unsigned char *p = TEST_SUCC(mmap(NULL, 3 * TEST_PAGE, RW, MAP_SHARED, fd, 0)), b;
    p[TEST_PAGE + 3] = '?';
    TEST_SUCC(msync(p, 3 * TEST_PAGE, MS_SYNC));
    TEST_SUCC(pread(fd, &b, 1, TEST_PAGE + 3));
    TEST_EQ(b, '?');
    TEST_SUCC(msync(p, TEST_PAGE, MS_ASYNC));
    TEST_SUCC(msync(p, TEST_PAGE, MS_ASYNC | MS_INVALIDATE));
    TEST_ERRNO(msync(p + 1, TEST_PAGE, MS_SYNC), EINVAL);
    TEST_ERRNO(msync(p, TEST_PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    TEST_ERRNO(msync(p, TEST_PAGE, 64), EINVAL);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_ERRNO(msync(p, 3 * TEST_PAGE, MS_SYNC), ENOMEM);
    close(fd);
}

static long locked_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmLck: %ld", &kb);
    fclose(f);
    return kb;
}

FN_TEST(mlock_populates_and_counts)
{
    unsigned char vec[4], *p = test_map(4 * TEST_PAGE);
    long before = locked_kb();
    TEST_SUCC(mlock(p, 4 * TEST_PAGE));
    TEST_SUCC(mincore(p, 4 * TEST_PAGE, vec));
    TEST_EQ(vec[0] & vec[3] & 1, 1);
    TEST_EQ(locked_kb() - before, 16);
    TEST_CHILD({ TEST_EQ(locked_kb(), 0); }); /* locks are not inherited */
    TEST_SUCC(munlock(p + TEST_PAGE, TEST_PAGE));
    TEST_EQ(locked_kb() - before, 12);
    TEST_SUCC(munmap(p, 4 * TEST_PAGE));
    TEST_EQ(locked_kb(), before);
}

FN_TEST(mlock2_onfault)
{
    unsigned char vec[2], *p = test_map(2 * TEST_PAGE);
    TEST_SUCC(syscall(SYS_mlock2, p, 2 * TEST_PAGE, MLOCK_ONFAULT));
    TEST_SUCC(mincore(p, 2 * TEST_PAGE, vec));
    TEST_EQ(vec[0] & 1, 0);
    TEST_ERRNO(syscall(SYS_mlock2, p, TEST_PAGE, 8), EINVAL);
    TEST_SUCC(munlock(p, 2 * TEST_PAGE));
}

FN_TEST(mlock_refusals)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_ERRNO(mlock(p, 3 * TEST_PAGE), ENOMEM);
    TEST_ERRNO(munlock(p, 3 * TEST_PAGE), ENOMEM);
    TEST_ERRNO(mlockall(0), EINVAL);
    TEST_ERRNO(mlockall(64), EINVAL);
    TEST_SUCC(munlockall());
}

FN_TEST(mlock_limit)
{
    TEST_CHILD({
        struct rlimit limit = {4 * TEST_PAGE, 4 * TEST_PAGE};
        unsigned char *p = test_map(8 * TEST_PAGE);
        TEST_SUCC(setrlimit(RLIMIT_MEMLOCK, &limit));
        if (getuid() == 0)
            TEST_SUCC(syscall(SYS_setresuid, 65534, 65534, 65534)); /* drops CAP_IPC_LOCK */
        TEST_ERRNO(mlock(p, 8 * TEST_PAGE), ENOMEM);
        TEST_SUCC(mlock(p, 4 * TEST_PAGE));
        TEST_ERRNO(mlock(p + 4 * TEST_PAGE, TEST_PAGE), ENOMEM);
        TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
        TEST_SUCC(munlock(p, TEST_PAGE));
        TEST_SUCC(mlock(p + 4 * TEST_PAGE, TEST_PAGE));
        limit.rlim_cur = limit.rlim_max = 0;
        TEST_SUCC(setrlimit(RLIMIT_MEMLOCK, &limit));
        TEST_ERRNO(mlock(p + 5 * TEST_PAGE, TEST_PAGE), EPERM);
        TEST_ERRNO(mlockall(MCL_CURRENT), EPERM);
    });
}

FN_TEST(mlockall_future)
{
    TEST_CHILD({
        unsigned char vec[2];
        TEST_SUCC(mlockall(MCL_FUTURE));
        unsigned char *p = test_map(2 * TEST_PAGE);
        TEST_SUCC(mincore(p, 2 * TEST_PAGE, vec));
        TEST_EQ(vec[0] & vec[1] & 1, 1);
        TEST_SUCC(munlockall());
        TEST_EQ(locked_kb(), 0);
    });
}

FN_TEST(locked_memory_refuses_dontneed)
{
    unsigned char *p = test_map(2 * TEST_PAGE);
    p[0] = 1;
    TEST_SUCC(mlock(p, TEST_PAGE));
    TEST_ERRNO(madvise(p, 2 * TEST_PAGE, MADV_DONTNEED), EINVAL);
    TEST_EQ(p[0], 1);
    TEST_SUCC(munlock(p, TEST_PAGE));
    TEST_SUCC(madvise(p, 2 * TEST_PAGE, MADV_DONTNEED));
    TEST_EQ(p[0], 0);
}

static int advice_of(int prot, int stored)
{
    unsigned char *p = TEST_SUCC(mmap((void *)0x200000000000, 4 * TEST_TABLE, prot, ANON | MAP_FIXED, -1, 0));
    if (stored)
        p[0] = 1;
    else
        TEST_PEEK(p);
    return madvise(p, TEST_TABLE, 25 /* MADV_COLLAPSE */) ? errno : 0;
}

FN_TEST(collapse_of_what)
{
    unsigned char *p = (void *)0x200000000000;
    TEST_EQ(advice_of(RW, 1), 0);
    TEST_EQ(advice_of(RW, 0), EINVAL); /* nothing was ever stored there */
    TEST_EQ(advice_of(PROT_READ, 0), EINVAL);
    advice_of(RW, 0);
    p[TEST_TABLE] = 1; /* not in that part, but in this mapping */
    TEST_SUCC(madvise(p, TEST_TABLE, 25));
    advice_of(RW, 0);
    p[0] = 1;
    TEST_SUCC(madvise(p, TEST_PAGE, MADV_DONTNEED));
    TEST_SUCC(madvise(p, TEST_TABLE, 25));
    TEST_ERRNO(madvise(p, 3 * TEST_TABLE, 25), EINVAL);
    p[TEST_TABLE + 1] = p[3 * TEST_TABLE] = 1;
    TEST_ERRNO(madvise(p, 4 * TEST_TABLE, 25), EINVAL); /* the third is empty; the others are done */
    TEST_SUCC(madvise(p + 3 * TEST_TABLE, TEST_TABLE, 25));
    /* A mapping without a whole 2 MiB. */
    advice_of(RW, 0);
    p[0] = 1;
    TEST_SUCC(mprotect(p + TEST_TABLE / 2, TEST_PAGE, PROT_READ));
    TEST_ERRNO(madvise(p, TEST_TABLE, 25), EINVAL);
    TEST_SUCC(munmap(p, 4 * TEST_TABLE));
    p = test_map(4 * TEST_PAGE);
    p[0] = 1;
    TEST_ERRNO(madvise(p, TEST_PAGE, 25), EINVAL);
    /* Of a thread's stack no 2 MiB pages are made. */
    p = TEST_SUCC(mmap((void *)0x200000000000, 4 * TEST_TABLE, RW, ANON | MAP_FIXED | MAP_STACK, -1, 0));
    p[0] = 1;
    TEST_ERRNO(madvise(p, TEST_TABLE, 25), EINVAL);
}

FN_TEST(collapse_after_fork)
{
    TEST_EQ(advice_of(RW, 0), EINVAL);
    unsigned char *p = (void *)0x200000000000;
    p[TEST_TABLE] = 1;
    TEST_CHILD({ TEST_SUCC(madvise(p, TEST_TABLE, 25)); });
}

/* The VmFlags of the mapping at `p`. */
static const char *flags_of(const void *p)
{
    static char line[256];
    FILE *file = TEST_SUCC(fopen("/proc/self/smaps", "r"));
    int here = 0;
    unsigned long start, end;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = start <= (uintptr_t)p && (uintptr_t)p < end;
        else if (here && !strncmp(line, "VmFlags: ", 9))
            break;
    }
    fclose(file);
    return line + 9;
}

FN_TEST(flags_that_show)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    TEST_SUCC(madvise(p, 8 * TEST_PAGE, MADV_MERGEABLE));
    TEST_CHECK(!strstr(flags_of(p), "mg"));
    p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, RW, ANON | MAP_STACK, -1, 0));
    TEST_CHECK(strstr(flags_of(p), "nh"));
    TEST_SUCC(syscall(SYS_mlock2, p, TEST_PAGE, MLOCK_ONFAULT));
    TEST_CHECK(strstr(flags_of(p), "lo"));
    TEST_CHECK(strstr(flags_of(p), "lf"));
    TEST_SUCC(mlock(p, TEST_PAGE));
    TEST_CHECK(!strstr(flags_of(p), "lf"));
    TEST_SUCC(madvise(p + 2 * TEST_PAGE, TEST_PAGE, 102 /* MADV_GUARD_INSTALL */));
    TEST_CHECK(strstr(flags_of(p + 2 * TEST_PAGE), "gu"));
    p = TEST_SUCC(mmap((void *)0x200000000000, 8 * TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, PROT_READ));
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, RW));
    /* One mapping again: a hole in the middle is asked for by its flags. */
    TEST_SUCC(mprotect(p, 8 * TEST_PAGE, PROT_READ | 0x01000000 /* PROT_GROWSDOWN */));
}

FN_TEST(droppable)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, RW, MAP_ANONYMOUS | 8, -1, 0));
    TEST_ERRNO(madvise(p, TEST_PAGE, MADV_KEEPONFORK), EINVAL);
    TEST_ERRNO(madvise(p, TEST_PAGE, MADV_DODUMP), EINVAL);
    TEST_SUCC(madvise(p, TEST_PAGE, MADV_MERGEABLE));
    TEST_SUCC(mlock(p, 8 * TEST_PAGE));
    TEST_CHECK(strstr(flags_of(p), "dp"));
    TEST_CHECK(!strstr(flags_of(p), "lo"));
    TEST_CHECK(!strstr(flags_of(p), "mg"));
}

FN_TEST(range_up_to_the_end_of_all_addresses)
{
    TEST_ERRNO(madvise((void *)-TEST_PAGE, TEST_PAGE, MADV_FREE), EINVAL);
    TEST_ERRNO(madvise((void *)-TEST_PAGE, TEST_PAGE, 22 /* MADV_POPULATE_READ */), EINVAL);
    TEST_ERRNO(madvise((void *)(-2 * TEST_PAGE), TEST_PAGE, MADV_FREE), ENOMEM);
}
