/* What counts as promised memory (VM_ACCOUNT), and what is refused with overcommit_memory 0 and 2; hazard 46.
 *
 * Mode 2 is for the whole machine, so it is tried only where that is Forkyard's. */
#include "figures.h"
#include <sys/resource.h>

#define MIB (1UL << 20)

static long memory_kb(const char *field) { return figure_kb("/proc/meminfo", field); }

/* 6 pages with unmapped pages on both sides, so that nothing joins it. */
static unsigned char *alone(int prot, int flags, int fd)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 8 * TEST_PAGE, PROT_NONE, ANON, -1, 0));
    TEST_SUCC(munmap(p, 8 * TEST_PAGE));
    return TEST_SUCC(mmap(p + TEST_PAGE, 6 * TEST_PAGE, prot, flags | MAP_FIXED_NOREPLACE, fd, 0));
}

static void gone(unsigned char *p) { TEST_SUCC(munmap(p, 6 * TEST_PAGE)); }

FN_TEST(what_is_accounted)
{
    static const struct { int prot, flags, anon, file; } cases[] = {
        {PROT_NONE, MAP_PRIVATE, 0, 0},
        {PROT_READ, MAP_PRIVATE, 0, 0},
        {RW, MAP_PRIVATE, 1, 1},
        {PROT_WRITE, MAP_PRIVATE, 1, 1},
        {RW | PROT_EXEC, MAP_PRIVATE, 1, 1},
        {RW, MAP_PRIVATE | MAP_NORESERVE, 0, 0},
        {RW, MAP_SHARED, 0, 0},
        {RW, MAP_SHARED | MAP_NORESERVE, 0, 0},
    };
    int fd = TEST_SUCC(memfd_create("account", 0));
    TEST_SUCC(ftruncate(fd, 6 * TEST_PAGE));
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *p = alone(cases[i].prot, cases[i].flags | MAP_ANONYMOUS, -1);
        TEST_EQ(has_flag(p, "ac"), cases[i].anon);
        TEST_EQ(has_flag(p, "nr"), (cases[i].flags & MAP_NORESERVE) != 0);
        gone(p);
        p = alone(cases[i].prot, cases[i].flags, fd);
        TEST_EQ(has_flag(p, "ac"), cases[i].file);
        gone(p);
    }
    close(fd);
    static unsigned char data[TEST_PAGE];
    data[0] = 1;
    unsigned char stack[1];
    TEST_EQ(has_flag(data, "ac"), 1);
    TEST_EQ(has_flag(stack, "ac"), 1);
    TEST_EQ(has_flag((void *)alone, "ac"), 0); /* text */
    unsigned char *heap = sbrk(3 * TEST_PAGE);
    TEST_EQ(has_flag(heap, "ac"), 1);
    TEST_SUCC(sbrk(-3 * (long)TEST_PAGE));
}

FN_TEST(mprotect_accounts_what_becomes_writable)
{
    unsigned char *p = alone(PROT_NONE, ANON, -1);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, PROT_READ));
    TEST_EQ(has_flag(p, "ac"), 0);
    TEST_SUCC(mprotect(p, 3 * TEST_PAGE, RW));
    TEST_EQ(has_flag(p, "ac"), 1);
    TEST_EQ(has_flag(p + 4 * TEST_PAGE, "ac"), 0);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, PROT_READ)); /* nothing was stored: taken back */
    TEST_EQ(has_flag(p, "ac"), 0);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, RW));
    TEST_EQ(TEST_PEEK(p), 0); /* zeros do not count */
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, PROT_NONE));
    TEST_EQ(has_flag(p, "ac"), 0);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, RW));
    p[5 * TEST_PAGE] = 1;
    TEST_SUCC(mprotect(p, 2 * TEST_PAGE, PROT_READ)); /* the mapping holds a page now, if not here */
    TEST_EQ(has_flag(p, "ac"), 1);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, PROT_NONE));
    TEST_EQ(has_flag(p, "ac"), 1);
    gone(p);
    p = alone(PROT_READ, ANON | MAP_NORESERVE, -1);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, RW));
    TEST_EQ(has_flag(p, "ac"), 0);
    gone(p);
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY));
    p = alone(PROT_READ, MAP_PRIVATE, fd);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, RW));
    TEST_EQ(has_flag(p, "ac"), 1);
    TEST_SUCC(mprotect(p, 6 * TEST_PAGE, PROT_READ)); /* a file's is not taken back */
    TEST_EQ(has_flag(p, "ac"), 1);
    gone(p);
    close(fd);
}

FN_TEST(account_goes_along)
{
    unsigned char *p = alone(RW, ANON, -1);
    p[0] = 1;
    TEST_CHILD({ TEST_EQ(has_flag(p, "ac"), 1); });
    unsigned char *q = TEST_SUCC(mremap(p, 6 * TEST_PAGE, 9 * TEST_PAGE, MREMAP_MAYMOVE));
    TEST_EQ(has_flag(q + 8 * TEST_PAGE, "ac"), 1);
    TEST_SUCC(munmap(q + 6 * TEST_PAGE, 3 * TEST_PAGE));
    p = TEST_SUCC(mremap(q, 6 * TEST_PAGE, 6 * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0));
    TEST_EQ(has_flag(p, "ac") + has_flag(q, "ac"), 2);
    gone(p);
    gone(q);
}

FN_TEST(mode_0_refuses_only_the_impossible)
{
    if (memory_kb("SwapTotal") < 0 || access("/proc/sys/vm/overcommit_memory", R_OK))
        return;
    unsigned long all = ((memory_kb("MemTotal") + memory_kb("SwapTotal")) / 1024 + 64) * MIB;
    TEST_ERRNO(mmap(NULL, all, RW, ANON, -1, 0), ENOMEM);
    TEST_ERRNO(mmap(NULL, all, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), ENOMEM);
    unsigned char *p = TEST_SUCC(mmap(NULL, all, RW, ANON | MAP_NORESERVE, -1, 0));
    p[all - 1] = 1;
    TEST_CHILD({ TEST_EQ(p[all - 1], 1); });
    TEST_SUCC(munmap(p, all));
    p = TEST_SUCC(mmap(NULL, all, PROT_READ, ANON, -1, 0));
    TEST_ERRNO(mprotect(p, all, RW), ENOMEM);
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1)); /* nothing has changed */
    TEST_SUCC(mprotect(p, all / 2, RW));
    TEST_SUCC(mprotect(p + all / 2, all / 2, RW));         /* each by itself is possible */
    p[0] = 1;
    TEST_SUCC(munmap(p, all));
    p = TEST_SUCC(mmap(NULL, MIB, RW, ANON, -1, 0));
    p[1] = 1;
    TEST_ERRNO(mremap(p, MIB, all + 2 * MIB, MREMAP_MAYMOVE), ENOMEM);
    TEST_EQ(p[1], 1);
    TEST_SUCC(munmap(p, MIB));
    char *end = sbrk(0);
    TEST_RES(syscall(SYS_brk, end + all), _ret == (long)end);
    TEST_SUCC(munmap(TEST_SUCC(mmap(NULL, all, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)), all));
}

/* -- mode 2 -- */

static int put(const char *path, long value)
{
    char text[32];
    int fd = open(path, O_WRONLY), n = snprintf(text, sizeof text, "%ld\n", value);
    if (fd < 0)
        return -1;
    int ok = write(fd, text, n) == n;
    close(fd);
    return ok ? 0 : -1;
}

static int ours(void) { return access("/proc/self/use_odf", F_OK) == 0; }

static void strict(long limit_kb)
{
    limit_kb &= -8;
    TEST_SUCC(put("/proc/sys/vm/admin_reserve_kbytes", 0));
    TEST_SUCC(put("/proc/sys/vm/user_reserve_kbytes", 0));
    TEST_SUCC(put("/proc/sys/vm/overcommit_kbytes", limit_kb));
    TEST_SUCC(put("/proc/sys/vm/overcommit_memory", 2));
    TEST_EQ(memory_kb("CommitLimit"), limit_kb + memory_kb("SwapTotal"));
}

static void lenient(void)
{
    TEST_SUCC(put("/proc/sys/vm/overcommit_memory", 0));
    TEST_SUCC(put("/proc/sys/vm/overcommit_ratio", 50));
}

static long room_kb(void) { return memory_kb("CommitLimit") - memory_kb("Committed_AS"); }

FN_TEST(limit_follows_ratio_and_kbytes)
{
    if (!ours())
        return;
    long total = memory_kb("MemTotal"), swap = memory_kb("SwapTotal");
    TEST_SUCC(put("/proc/sys/vm/overcommit_ratio", 80));
    TEST_CHECK(labs(memory_kb("CommitLimit") - (total * 80 / 100 + swap)) <= 4);
    TEST_SUCC(put("/proc/sys/vm/overcommit_kbytes", 65536));
    TEST_EQ(memory_kb("CommitLimit"), 65536 + swap);
    TEST_SUCC(put("/proc/sys/vm/overcommit_ratio", 50));
    TEST_CHECK(labs(memory_kb("CommitLimit") - (total / 2 + swap)) <= 4);
    TEST_EQ(put("/proc/sys/vm/overcommit_memory", 3), -1);
    TEST_SUCC(put("/proc/sys/vm/overcommit_memory", 1));
    unsigned char *p = TEST_SUCC(mmap(NULL, (total + swap) * 1024 + 64 * MIB, RW, ANON, -1, 0));
    TEST_SUCC(munmap(p, (total + swap) * 1024 + 64 * MIB));
    lenient();
}

FN_TEST(committed_counts_promises)
{
    if (!ours())
        return;
    long before = memory_kb("Committed_AS");
    unsigned char *p = alone(RW, ANON, -1);
    TEST_EQ(memory_kb("Committed_AS"), before + 24);
    TEST_SUCC(munmap(p, TEST_PAGE));
    TEST_EQ(memory_kb("Committed_AS"), before + 20);
    TEST_SUCC(munmap(p, 6 * TEST_PAGE));
    p = alone(RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    TEST_EQ(memory_kb("Committed_AS"), before + 24);
    TEST_CHILD({ TEST_CHECK(memory_kb("Committed_AS") >= before + 24); });
    gone(p);
    TEST_EQ(memory_kb("Committed_AS"), before);
    p = alone(RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    TEST_EQ(memory_kb("Committed_AS"), before);
    p[0] = 1;
    TEST_EQ(memory_kb("Committed_AS"), before + 4);
    gone(p);
    TEST_EQ(memory_kb("Committed_AS"), before);
}

FN_TEST(stacks_near_the_limit)
{
    if (!ours())
        return;
    unsigned char *p = TEST_SUCC(mmap((void *)0x200000000000, TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    p[0] = 1;
    strict(memory_kb("Committed_AS") + 256);
    TEST_POKE(p - 16 * TEST_PAGE, 1);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p - 80 * TEST_PAGE, TEST_POKE(p - 80 * TEST_PAGE, 1));
    TEST_POKE(p - 32 * TEST_PAGE, 1);
    lenient();
    TEST_POKE(p - 80 * TEST_PAGE, 1);
    TEST_SUCC(munmap(p - 80 * TEST_PAGE, 81 * TEST_PAGE));
}

FN_TEST(h46_fork_near_the_limit)
{
    if (!ours())
        return;
    static unsigned char own[8 * MIB] __attribute__((aligned(4096)));
    own[0] = 1;
    long mine = memory_kb("Committed_AS");
    for (int room = 0; room < 2; room++) {
        strict(2 * mine - 4096 + room * 8192);
        pid_t pid = fork();
        int error = errno;
        if (pid == 0)
            _exit(own[0] != 1);
        if (room == 0) {
            TEST_EQ(pid, -1);
            TEST_EQ(error, ENOMEM);
        } else {
            TEST_CHECK(pid > 0);
            TEST_REAP(pid);
        }
        TEST_EQ(memory_kb("Committed_AS"), mine);
        own[0] = 1;
        lenient();
    }
    /* What is not promised is not counted: the same fork works with the memory set aside otherwise. */
    strict(2 * mine - 4096);
    TEST_SUCC(madvise(own, sizeof own, MADV_DONTFORK));
    TEST_CHILD({ });
    TEST_SUCC(madvise(own, sizeof own, MADV_DOFORK));
    TEST_RES(fork(), _ret == -1 && errno == ENOMEM);
    pid_t pid = vfork(); /* shares, promises nothing */
    if (pid == 0)
        _exit(0);
    TEST_REAP(pid);
    lenient();
}

FN_TEST(h46_mapping_calls_near_the_limit)
{
    if (!ours())
        return;
    unsigned char *area = alone(RW, ANON, -1);
    area[0] = 7;
    strict(memory_kb("Committed_AS") + 16384);
    unsigned long room = (room_kb() * 1024 + 2 * TEST_PAGE - 1) & -2 * TEST_PAGE;
    TEST_ERRNO(mmap(NULL, room, RW, ANON, -1, 0), ENOMEM);
    TEST_ERRNO(mmap(NULL, room, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), ENOMEM);
    TEST_ERRNO(mmap(NULL, room, RW, ANON | MAP_NORESERVE, -1, 0), ENOMEM); /* not honoured in this mode */
    unsigned char *p = TEST_SUCC(mmap(NULL, room, PROT_READ, ANON, -1, 0)); /* nothing promised */
    TEST_ERRNO(mprotect(p, room, RW), ENOMEM);
    TEST_SUCC(mprotect(p, room / 2, RW));
    TEST_EQ(has_flag(p, "ac"), 1);
    TEST_ERRNO(mprotect(p + room / 2, room / 2, RW), ENOMEM);
    TEST_SUCC(mmap(p, room / 2, RW, ANON | MAP_FIXED, -1, 0)); /* in the place of what was promised */
    TEST_SUCC(mprotect(p, room / 2, PROT_NONE));               /* never used: the promise is given back */
    TEST_SUCC(mprotect(p + room / 2, room / 2, RW));
    TEST_ERRNO(mremap(p + room / 2, room / 2, 2 * room, MREMAP_MAYMOVE), ENOMEM);
    TEST_ERRNO(mremap(p + room / 2, room / 2, room / 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0), ENOMEM);
    char *end = sbrk(0);
    TEST_RES(syscall(SYS_brk, end + room / 2), _ret == (long)end);
    TEST_SUCC(munmap(p, room));
    TEST_RES(syscall(SYS_brk, end + room / 2), _ret == (long)(end + room / 2));
    TEST_RES(syscall(SYS_brk, end), _ret == (long)end);
    TEST_EQ(area[0], 7);
    lenient();
    gone(area);
}

FN_TEST(rlimit_data_counts_private_writable_mappings)
{
    struct rlimit old, low;
    TEST_SUCC(getrlimit(RLIMIT_DATA, &old));
    low = old;
    low.rlim_cur = 0;
    TEST_CHILD({
        unsigned char *p = TEST_SUCC(mmap(NULL, MIB, PROT_READ, ANON, -1, 0));
        low.rlim_cur = 4096;
        TEST_SUCC(setrlimit(RLIMIT_DATA, &low));
        TEST_ERRNO(mmap(NULL, MIB, RW, ANON, -1, 0), ENOMEM);
        TEST_SUCC(mmap(NULL, MIB, PROT_READ, ANON, -1, 0));
        TEST_SUCC(mmap(NULL, MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
        TEST_SUCC(mprotect(p, MIB, PROT_NONE));
    });
}
