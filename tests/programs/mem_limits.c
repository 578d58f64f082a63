/* How far stacks grow, what limits stop, and memory that is locked when it is touched. */
#include "test.h"
#include <sys/resource.h>
#include <sys/uio.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define AT ((unsigned char *)0x200000000000)

/* sbrk, which musl's does not do. */
static void *move_break(long by)
{
    unsigned long end = syscall(SYS_brk, 0);
    if ((unsigned long)syscall(SYS_brk, end + by) == end + by)
        return (void *)end;
    errno = ENOMEM;
    return (void *)-1;
}

static unsigned char *stack_at(unsigned char *at)
{
    return TEST_SUCC(mmap(at, TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
}

/* A page of stack with room to grow below it, elsewhere each time. */
static unsigned char *new_stack(void)
{
    static long number;
    return stack_at(AT + (++number << 30));
}

FN_TEST(write_from_a_stack_that_has_not_grown_yet)
{
    enum { SIZE = 400000 };
    int fd = TEST_SUCC(memfd_create("stack", 0));
    unsigned char *p = new_stack() - 500000;
    p[495000] = 7;
    TEST_RES(pwrite(fd, p, SIZE, 0), _ret == SIZE);
    p = new_stack() - 500000;
    struct iovec parts[2] = {{p, 300000}, {p + 300000, 100000}};
    TEST_RES(pwritev(fd, parts, 2, 0), _ret == SIZE);
    p = new_stack() - 500000;
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_SUCC(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20));
    TEST_RES(write(pipes[1], p, SIZE), _ret == SIZE);
    /* What is mapped in front of the guard gap ends the read; the stack behind it grows in vain. */
    p = new_stack();
    TEST_SUCC(mmap(p - 100 * TEST_PAGE, 50 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
    TEST_RES(pwrite(fd, p - 100 * TEST_PAGE, 100 * TEST_PAGE, 0), _ret == 50 * TEST_PAGE);
}

static void limit(int which, rlim_t soft)
{
    struct rlimit l;
    TEST_SUCC(getrlimit(which, &l));
    l.rlim_cur = soft;
    if (which == RLIMIT_MEMLOCK)
        l.rlim_max = soft;
    TEST_SUCC(setrlimit(which, &l));
}

/* A line of /proc/self/status in bytes. */
static long status(const char *name)
{
    static char text[4096];
    int fd = TEST_SUCC(open("/proc/self/status", O_RDONLY));
    TEST_RES(read(fd, text, sizeof text - 1), _ret > 0);
    close(fd);
    return atol(strstr(text, name) + strlen(name)) * 1024;
}

static int resident(void *p, int pages)
{
    unsigned char seen[64];
    int n = 0;
    TEST_SUCC(mincore(p, pages * TEST_PAGE, seen));
    for (int i = 0; i < pages; i++)
        n += seen[i] & 1;
    return n;
}

/* CAP_IPC_LOCK goes with it; the limits hold then. */
static void be_nobody(void)
{
    TEST_SUCC(setresuid(65534, 65534, 65534));
}

FN_TEST(growth_stops_above_the_lowest_address)
{
    unsigned char *p = stack_at((unsigned char *)0x20000);
    TEST_POKE(p - 1, 1);
    TEST_POKE((unsigned char *)0x10000, 2);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, (void *)0xfff8, TEST_POKE((unsigned char *)0xfff8, 1));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, (void *)0x1000, TEST_POKE((unsigned char *)0x1000, 1));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, NULL, TEST_POKE((unsigned char *)NULL, 1));
    int fd = TEST_SUCC(memfd_create("low", 0));
    TEST_SUCC(ftruncate(fd, TEST_PAGE));
    TEST_ERRNO(read(fd, (void *)0x8000, 1), EFAULT);
    munmap((void *)0x10000, 0x11000);
}

FN_TEST(address_space_limit_stops_growth)
{
    unsigned char *p = new_stack();
    TEST_CHILD({
        limit(RLIMIT_AS, status("VmSize:") + 64 * TEST_PAGE);
        TEST_POKE(p - 60 * TEST_PAGE, 1);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p - 70 * TEST_PAGE, TEST_POKE(p - 70 * TEST_PAGE, 1));
        TEST_POKE(p - 64 * TEST_PAGE, 1);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p - 65 * TEST_PAGE, TEST_POKE(p - 65 * TEST_PAGE, 1));
        int fd = TEST_SUCC(memfd_create("as", 0));
        TEST_RES(pwrite(fd, p - 64 * TEST_PAGE, 2 * TEST_PAGE, 0), _ret == 2 * TEST_PAGE);
        TEST_ERRNO(pwrite(fd, p - 66 * TEST_PAGE, TEST_PAGE, 0), EFAULT);
        limit(RLIMIT_AS, RLIM_INFINITY);
        TEST_POKE(p - 100 * TEST_PAGE, 1);
    });
    TEST_CHILD({
        /* It goes to children, and a stack is no data. */
        limit(RLIMIT_DATA, status("VmData:") + 16 * TEST_PAGE);
        limit(RLIMIT_AS, status("VmSize:") + 64 * TEST_PAGE);
        TEST_CHILD({
            TEST_POKE(p - 64 * TEST_PAGE, 1);
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p - 65 * TEST_PAGE, TEST_POKE(p - 65 * TEST_PAGE, 1));
        });
    });
}

FN_TEST(lock_limit_stops_growth_of_a_locked_stack)
{
    if (geteuid())
        return;
    TEST_CHILD({
        limit(RLIMIT_MEMLOCK, 16 * TEST_PAGE);
        be_nobody();
        unsigned char *p = new_stack();
        TEST_SUCC(mlock(p, TEST_PAGE));
        TEST_POKE(p - 15 * TEST_PAGE, 1);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p - 16 * TEST_PAGE, TEST_POKE(p - 16 * TEST_PAGE, 1));
        TEST_EQ(status("VmLck:"), 16 * TEST_PAGE);
        TEST_SUCC(munlock(p - 15 * TEST_PAGE, 16 * TEST_PAGE));
        TEST_POKE(p - 100 * TEST_PAGE, 1);
    });
}

FN_TEST(locked_on_fault)
{
    unsigned char *p = TEST_SUCC(mmap(AT, 8 * TEST_PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
    TEST_SUCC(syscall(SYS_mlock2, p, 8 * TEST_PAGE, 1));
    TEST_EQ(resident(p, 8), 0);
    TEST_SUCC(mprotect(p, 8 * TEST_PAGE, RW));
    p[0] = 1;
    TEST_EQ(resident(p, 8), 1);
    p = TEST_SUCC(mremap(p, 8 * TEST_PAGE, 16 * TEST_PAGE, MREMAP_MAYMOVE));
    TEST_EQ(resident(p, 16), 1);
    TEST_EQ(status("VmLck:"), 16 * TEST_PAGE);
    TEST_SUCC(mlock(p, 4 * TEST_PAGE));
    TEST_EQ(resident(p, 16), 4);
    TEST_SUCC(munmap(p, 16 * TEST_PAGE));
    p = TEST_SUCC(mmap(AT, TEST_PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0));
    TEST_ERRNO(mlock(p, TEST_PAGE), ENOMEM);
    TEST_SUCC(syscall(SYS_mlock2, p, TEST_PAGE, 1));
}

FN_TEST(everything_later_locked_on_fault)
{
    TEST_CHILD({
        TEST_SUCC(mlockall(MCL_FUTURE | 4 /* MCL_ONFAULT */));
        unsigned char *p = TEST_SUCC(mmap(AT, 8 * TEST_PAGE, RW, ANON | MAP_FIXED | MAP_POPULATE, -1, 0));
        TEST_EQ(resident(p, 8), 0);
        p[TEST_PAGE] = 1;
        TEST_SUCC(mprotect(p, 4 * TEST_PAGE, PROT_READ));
        TEST_SUCC(mprotect(p, 4 * TEST_PAGE, RW));
        TEST_EQ(resident(p, 8), 1);
        unsigned char *heap = TEST_SUCC(move_break(16 * TEST_PAGE));
        heap = (unsigned char *)(((uintptr_t)heap + TEST_PAGE - 1) & -TEST_PAGE);
        TEST_EQ(resident(heap, 15), 0);
        TEST_CHILD({ TEST_EQ(status("VmLck:"), 0); });
        TEST_SUCC(mlockall(MCL_CURRENT | 4));
        TEST_EQ(resident(p, 8), 1);
        TEST_SUCC(mlockall(MCL_CURRENT));
        TEST_EQ(resident(p, 8), 8);
        p = TEST_SUCC(mmap(p, 8 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
        TEST_EQ(resident(p, 8), 0);
    });
}

FN_TEST(heap_and_the_lock_limit)
{
    if (geteuid())
        return;
    TEST_CHILD({
        limit(RLIMIT_MEMLOCK, 16 * TEST_PAGE);
        be_nobody();
        TEST_SUCC(mlockall(MCL_FUTURE));
        TEST_ERRNO(move_break(100 * TEST_PAGE), ENOMEM);
        TEST_ERRNO(mmap(AT, 100 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), EAGAIN);
        TEST_SUCC(move_break(4 * TEST_PAGE));
        TEST_SUCC(mmap(AT, 4 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
        TEST_EQ(status("VmLck:"), 8 * TEST_PAGE);
        TEST_ERRNO(mremap(AT, 4 * TEST_PAGE, 40 * TEST_PAGE, MREMAP_MAYMOVE), EAGAIN);
        TEST_ERRNO(move_break(16 * TEST_PAGE), ENOMEM);
        TEST_SUCC(mlock(AT, 0));
    });
}

FN_TEST(data_limit_of_mprotect_and_mremap)
{
    TEST_CHILD({
        unsigned char *p = TEST_SUCC(mmap(AT, 256 * TEST_PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
        limit(RLIMIT_DATA, status("VmData:") + 64 * TEST_PAGE);
        TEST_ERRNO(mprotect(p, 128 * TEST_PAGE, RW), ENOMEM);
        TEST_SUCC(mprotect(p, 8 * TEST_PAGE, RW));
        TEST_ERRNO(mprotect(p, 70 * TEST_PAGE, RW), ENOMEM);
        TEST_ERRNO(mremap(p, 8 * TEST_PAGE, 100 * TEST_PAGE, MREMAP_MAYMOVE), ENOMEM);
        TEST_SUCC(mremap(p, 8 * TEST_PAGE, 16 * TEST_PAGE, MREMAP_MAYMOVE));
        TEST_SUCC(mprotect(p + 128 * TEST_PAGE, 100 * TEST_PAGE, PROT_NONE));
        TEST_SUCC(mremap(p + 128 * TEST_PAGE, 100 * TEST_PAGE, 110 * TEST_PAGE, MREMAP_MAYMOVE));
    });
}

FN_TEST(data_above_the_limit_may_change)
{
    TEST_CHILD({
        /* More data than allowed already: what does not add to it is not refused. */
        unsigned char *p = TEST_SUCC(mmap(AT, 64 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
        limit(RLIMIT_DATA, TEST_PAGE);
        TEST_SUCC(mprotect(p, 8 * TEST_PAGE, RW | PROT_EXEC));
        TEST_SUCC(mprotect(p, 8 * TEST_PAGE, PROT_READ));
        TEST_ERRNO(mprotect(p, 8 * TEST_PAGE, RW), ENOMEM);
        TEST_ERRNO(mremap(p + 8 * TEST_PAGE, 8 * TEST_PAGE, 9 * TEST_PAGE, MREMAP_MAYMOVE), ENOMEM);
        TEST_SUCC(mremap(p + 8 * TEST_PAGE, TEST_PAGE, TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT + (1 << 28)));
    });
}

FN_TEST(hint_within_the_guard_gap_of_a_stack)
{
    unsigned char *p = new_stack();
    TEST_RES(mmap(p - 16 * TEST_PAGE, 4 * TEST_PAGE, RW, ANON, -1, 0), _ret != p - 16 * TEST_PAGE);
    TEST_RES(mmap(p - 259 * TEST_PAGE, 4 * TEST_PAGE, RW, ANON, -1, 0), _ret != p - 259 * TEST_PAGE);
    TEST_RES(mmap(p - 260 * TEST_PAGE, 4 * TEST_PAGE, RW, ANON, -1, 0), _ret == p - 260 * TEST_PAGE);
    TEST_RES(mmap(p - 100 * TEST_PAGE, 4 * TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
             _ret == p - 100 * TEST_PAGE);
}
