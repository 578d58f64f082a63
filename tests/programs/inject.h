/* What the tests of injected failures share: frame allocation fails at the n-th call, for every n until an operation
 * succeeds without a failure.
 *
 * System call 1000 arms the failure; the test harness listens for it and says how many allocations were still to come.
 * On the host it is ENOSYS and does nothing: everything succeeds there at once. Each operation runs in a child that
 * shares page tables with this process. What must hold: a call fails with ENOMEM and has changed nothing that memory or
 * /proc/self/maps shows, or succeeds; a fault succeeds or kills; this process's data stays; the same call works when it
 * is tried again. */
#ifndef FORKYARD_INJECT_H
#define FORKYARD_INJECT_H
#include "figures.h"
#include "test.h"

#define MOST_ROUNDS 64
#define BASE ((char *)0x200000000)

static char *area;         /* what the operations work on */
static size_t area_size;
static char written[2048]; /* by page of the area: 1 where it holds mark_of, else it is zeros */

static size_t mark_of(size_t page) { return page * 0x9E3779B97F4A7C15 + 1; }

static void fill(size_t first, size_t last)
{
    for (size_t i = first; i < last; i++) {
        size_t *at = (size_t *)(area + i * TEST_PAGE);
        at[0] = at[TEST_PAGE / sizeof *at - 1] = mark_of(i);
        written[i] = 1;
    }
}

/* Pages [first, last) of the area hold, at `at`, what they held at the start. */
static int holds(const char *at, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++, at += TEST_PAGE) {
        size_t word = written[i] ? mark_of(i) : 0;
        if (*(const size_t *)at != word || *(const size_t *)(at + TEST_PAGE - sizeof(size_t)) != word)
            return 0;
    }
    return 1;
}

static int intact(size_t first, size_t last) { return holds(area + first * TEST_PAGE, first, last); }
static int all_intact(void) { return intact(0, area_size / TEST_PAGE); }

static int zero(size_t first, size_t last)
{
    for (const char *at = area + first * TEST_PAGE; at < area + last * TEST_PAGE; at += sizeof(size_t))
        if (*(const size_t *)at)
            return 0;
    return 1;
}

static void map_area(size_t size, int flags, int fd)
{
    area = TEST_SUCC(mmap(BASE, size, RW, flags | MAP_FIXED, fd, 0));
    area_size = size;
    memset(written, 0, sizeof written);
}

static void unmap_area(void) { TEST_SUCC(munmap(area, area_size)); }

struct operation {
    void (*setup)(void);     /* makes the area; once */
    void (*before)(void);    /* in the parent, before each round: undoes what looking at the area has brought in */
    void (*prepare)(void);   /* in the child, before the failure is armed */
    int (*run)(void);        /* in the child: 0 when it has succeeded, errno when it has failed; none: it is a fork */
    void (*undo)(void);      /* after a failure: what a failed call leaves on Linux too */
    int (*judge)(int failed);
    void (*clean)(void);     /* once */
    int may_die;             /* when a fault finds no frame: of this signal, or of SIGKILL */
    int also;                /* an errno that says the same as ENOMEM */
    int host_may_refuse;     /* the call is not there, or not allowed, on every host */
    int takes_from;          /* the level of sharing from which on it takes frames: a table to be copied */
};

static int emulated(void) { return access("/proc/self/use_odf", F_OK) == 0; }

/* 0: forks of this process are classic; else how far up they share tables. */
static int level(void)
{
    char text[2] = "0";
    const char *const files[] = {"/proc/self/use_odf", "/proc/self/use_odf_level"};
    for (int i = 0; i < 2 && (i == 0 || *text != '0'); i++)
        whole_file(files[i], text, sizeof text);
    return *text - '0';
}

/* Arm (n > 0) or disarm (0): *left is how many allocations were still to come. */
static void arm(long n, long *left) { syscall(1000, n, left); }

/* /proc/self/maps, in pages that are this process's own from the start of a round. */
static void read_maps(char *text, size_t size)
{
    int fd = TEST_SUCC(open("/proc/self/maps", O_RDONLY));
    size_t had = 0;
    for (ssize_t got; (got = TEST_SUCC(read(fd, text + had, size - 1 - had))) > 0;)
        had += got;
    text[had] = 0;
    close(fd);
}

/* Fork with the n-th allocation armed; disarmed before memory is touched: a store after fork may need a frame, and ends
 * in death without. Returns errno, -1 when the child did not see what it must. */
static int fork_armed(long n, long *left)
{
    long call = 1000, first = n, second = 0, pid;
    register long *answer asm("r8") = left;
    asm volatile("syscall\n\t"
                 "mov %[fork], %%eax\n\tsyscall\n\tmov %%rax, %%rbx\n\t"
                 "mov $1000, %%eax\n\txor %%edi, %%edi\n\tmov %[answer], %%rsi\n\tsyscall"
                 : "+a"(call), "+D"(first), "+S"(second), "=&b"(pid)
                 : [fork] "i"(SYS_fork), [answer] "r"(answer)
                 : "rcx", "r11", "memory");
    if (pid == 0)
        _exit(!all_intact());
    return pid < 0 ? (int)-pid : test_wait(pid) ? -1 : 0;
}

static int attempt(const struct operation *o, long n, long *left)
{
    if (!o->run)
        return fork_armed(n, left);
    arm(n, NULL);
    int failed = o->run();
    arm(0, left);
    return failed;
}

/* The call failed; there was no frame, and yet it succeeded; all frames were there. */
enum { DONE_FAILED = 10, DONE_ALL_THE_SAME, DONE_WITHOUT };

static void play_round(const struct operation *o, long n)
{
    static char before[16384], after[16384];
    long left = 1, unused;
    if (o->prepare)
        o->prepare();
    read_maps(before, sizeof before);
    test_until_asleep(getppid(), getppid()); /* nobody else takes the failure */
    int failed = attempt(o, n, &left);
    if (failed && !emulated() && o->host_may_refuse)
        _exit(DONE_WITHOUT);
    if (failed && failed != ENOMEM && failed != o->also)
        test_fail(__FILE__, __LINE__, "allocation %ld failed: %s", n, test_errno_name(failed));
    if (failed) {
        if (left)
            test_fail(__FILE__, __LINE__, "%s before allocation %ld", test_errno_name(failed), n);
        if (o->undo)
            o->undo();
        read_maps(after, sizeof after);
        size_t line = 0; /* where the first line begins that differs */
        for (size_t i = 0; after[i] && after[i] == before[i]; i++)
            line = after[i] == '\n' ? i + 1 : line;
        TEST_STR(after + line, before + line);
    }
    if (!o->judge(failed))
        test_fail(__FILE__, __LINE__, "allocation %ld failed, the call %s: wrong data", n, failed ? "too" : "did not");
    int again = failed ? attempt(o, 0, &unused) : 0;
    if (again || (failed && !o->judge(0)))
        test_fail(__FILE__, __LINE__, "allocation %ld had failed: %s when tried again", n, test_errno_name(again));
    _exit(failed ? DONE_FAILED : left ? DONE_WITHOUT : DONE_ALL_THE_SAME);
}

static void every(const struct operation *o)
{
    long failures = 0, refusals = 0; /* rounds in which a frame was missing; in which that made the call fail */
    o->setup();
    for (long n = 1;; n++) {
        TEST_CHECK(n < MOST_ROUNDS);
        if (o->before)
            o->before();
        pid_t child = TEST_SUCC(fork());
        if (child == 0)
            play_round(o, n);
        int status = test_wait(child);
        arm(0, NULL);
        int by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        int killed = by && o->may_die && (by == o->may_die || by == SIGKILL);
        int end = by ? 0 : WEXITSTATUS(status);
        if (!killed && (end < DONE_FAILED || end > DONE_WITHOUT))
            test_fail(__FILE__, __LINE__, "allocation %ld failed: wait status 0x%x", n, status);
        TEST_CHECK(all_intact());
        if (end == DONE_WITHOUT)
            break;
        failures++;
        refusals += end == DONE_FAILED;
    }
    if (emulated() && (failures > 0) != (level() >= o->takes_from))
        test_fail(__FILE__, __LINE__, "%ld allocations could fail", failures);
    if (emulated() && !o->run)
        TEST_CHECK(refusals > 0);
    o->clean ? o->clean() : unmap_area();
}

#define INJECT(id, ...) FN_TEST(id) { static const struct operation o = {__VA_ARGS__}; every(&o); }

/* -- areas --------------------------------------------------------------------------------------------------------- */

/* Three tables: written, half written, written. */
TEST_UNUSED static void three_tables(void)
{
    map_area(3 * TEST_TABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(0, 768);
    fill(1024, 1536);
}

static void forget(size_t first, size_t last, int advice)
{
    TEST_SUCC(madvise(area + first * TEST_PAGE, (last - first) * TEST_PAGE, advice));
}

TEST_UNUSED static void empty_holes(void) { forget(768, 1024, MADV_DONTNEED); }

/* Two 2 MiB pages, where the kernel gives them. */
TEST_UNUSED static void two_leaves(void)
{
    map_area(2 * TEST_TABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    TEST_SUCC(madvise(area, area_size, MADV_HUGEPAGE));
    fill(0, 1024);
    if (emulated()) /* else the test would be one of small pages */
        TEST_EQ(smaps_kb(area, area_size, "AnonHugePages"), 4096);
}

/* One table and a quarter, to be swapped out by `page_out`. */
TEST_UNUSED static void to_swap(void)
{
    map_area(TEST_TABLE + TEST_TABLE / 4, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(0, 640);
}

TEST_UNUSED static void page_out(void) { TEST_SUCC(madvise(area, area_size, MADV_PAGEOUT)); }

/* A table and a half of a file in memory, the last quarter of it not mapped in yet. */
TEST_UNUSED static void file_area(int flags)
{
    int fd = TEST_SUCC(memfd_create("inject", 0));
    TEST_SUCC(ftruncate(fd, 768 * TEST_PAGE));
    map_area(768 * TEST_PAGE, MAP_SHARED, fd);
    fill(0, 704);
    if (flags == MAP_PRIVATE)
        TEST_SUCC(mmap(area, area_size, RW, MAP_PRIVATE | MAP_FIXED, fd, 0));
    else
        TEST_SUCC(madvise(area + 576 * TEST_PAGE, 192 * TEST_PAGE, MADV_DONTNEED));
    TEST_SUCC(close(fd));
}

TEST_UNUSED static void shared_file(void) { file_area(MAP_SHARED); }
TEST_UNUSED static void empty_private(void) { forget(576, 768, MADV_DONTNEED); }
TEST_UNUSED static void empty_shared(void)
{
    empty_private();
    forget(704, 768, MADV_REMOVE);
}
TEST_UNUSED static void private_file(void)
{
    file_area(MAP_PRIVATE);
    TEST_CHECK(intact(0, 576));
}

TEST_UNUSED static int same(int failed) { (void)failed; return all_intact(); }

static void choose_level(const char *level)
{
    int fd = open("/proc/self/use_odf_level", O_WRONLY);
    if (fd >= 0)
        TEST_SUCC(write(fd, level, 1));
    close(fd);
}

/* Kinds of fork, of what is shared already. */
TEST_UNUSED static void classic(void) { test_set_odf(0); }
TEST_UNUSED static void level_1(void) { test_set_odf(1), choose_level("1"); }
TEST_UNUSED static void level_2(void) { test_set_odf(1), choose_level("2"); }
#define INJECT_FORKS(id, ...)                                                              \
    INJECT(id, __VA_ARGS__, .judge = same)                                                 \
    INJECT(id##_classic, __VA_ARGS__, .prepare = classic, .judge = same)                   \
    INJECT(id##_level_1, __VA_ARGS__, .prepare = level_1, .judge = same)                   \
    INJECT(id##_level_2, __VA_ARGS__, .prepare = level_2, .judge = same)
#endif
