/* Frame allocation fails at the n-th call, for every n, through fork, faults and the mapping calls.
 *
 * System call 1000 arms the failure: the test harness listens for it (on the host it is ENOSYS and does nothing, so
 * everything succeeds there). Each operation runs in a child that shares page tables with this process. What must hold:
 * a call fails with ENOMEM and has changed nothing, or succeeds; a fault succeeds or kills; the other side's data stays;
 * the same call works when it is tried again. */
#include "test.h"

#define ROUNDS 14
#define SIZE (3 * TEST_TABLE)

static char *area; /* three tables: written, half written, written */
static int file;

static long arm(long n) { return syscall(1000, n); }

static void fill(void)
{
    area = TEST_SUCC(mmap((void *)0x200000000, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                          -1, 0));
    for (size_t i = 0; i < SIZE; i += TEST_PAGE)
        if (i / TEST_TABLE != 1 || i % TEST_TABLE < TEST_TABLE / 2)
            *(size_t *)(area + i) = i + 1;
}

static int intact(size_t from, size_t to)
{
    for (size_t i = from; i < to; i += TEST_PAGE)
        if (i / TEST_TABLE != 1 || i % TEST_TABLE < TEST_TABLE / 2)
            if (*(size_t *)(area + i) != i + 1)
                return 0;
    return 1;
}

/* An operation: 0 when it has succeeded, errno when it has failed; `judge` looks at the result. */
struct operation {
    int (*run)(void);
    int (*judge)(int failed);
};

static int whole(int failed) { (void)failed; return intact(0, SIZE); }

static int do_unmap(void) { return munmap(area + TEST_PAGE, TEST_TABLE) ? errno : 0; }
static int judge_unmap(int failed)
{
    return failed ? intact(0, SIZE) : intact(0, TEST_PAGE) && intact(TEST_TABLE + TEST_PAGE, SIZE);
}
static int do_protect(void) { return mprotect(area + TEST_PAGE, TEST_TABLE, PROT_READ) ? errno : 0; }
static int do_none(void) { return mprotect(area, TEST_PAGE, PROT_NONE) ? errno : 0; }
static int judge_none(int failed) { return intact(failed ? 0 : TEST_PAGE, SIZE); }
static int do_dontneed(void) { return madvise(area + TEST_PAGE, TEST_PAGE, MADV_DONTNEED) ? errno : 0; }
static int judge_dontneed(int failed)
{
    return failed ? intact(0, SIZE)
                  : intact(0, TEST_PAGE) && *(size_t *)(area + TEST_PAGE) == 0 && intact(2 * TEST_PAGE, SIZE);
}
static int do_free(void) { return madvise(area, TEST_TABLE, MADV_FREE) ? errno : 0; }
static int do_map_over(void)
{
    void *p = mmap(area + TEST_PAGE, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}
static char *const moved = (char *)0x300001000;
static int do_move(void)
{
    return mremap(area, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == MAP_FAILED ? errno : 0;
}
static int judge_move(int failed)
{
    if (failed)
        return intact(0, SIZE);
    for (size_t i = 0; i < TEST_TABLE; i += TEST_PAGE)
        if (*(size_t *)(moved + i) != i + 1)
            return 0;
    return intact(TEST_TABLE, SIZE);
}
static int do_shrink(void) { return mremap(area, SIZE, TEST_PAGE, 0) == MAP_FAILED ? errno : 0; }
static int judge_shrink(int failed) { return intact(0, failed ? SIZE : TEST_PAGE); }
static int do_brk(void) { return sbrk(TEST_TABLE) == (void *)-1 ? errno : 0; }
static int do_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(!intact(0, SIZE));
    if (child < 0)
        return errno;
    int status;
    while (waitpid(child, &status, 0) < 0)
        ;
    /* With memory out the child may have been killed while it looked. */
    return WIFSIGNALED(status) ? ENOMEM : status ? -1 : 0;
}
static int do_read(void) { return pread(file, area + 5 * TEST_PAGE, 3 * TEST_PAGE, 0) < 0 ? errno : 0; }
static int judge_read(int failed) { (void)failed; return intact(0, 5 * TEST_PAGE) && intact(8 * TEST_PAGE, SIZE); }
static int do_write_fault(void) { *(volatile size_t *)(area + 9 * TEST_PAGE) = 7; return 0; }
static int judge_write_fault(int failed)
{
    return !failed && *(size_t *)(area + 9 * TEST_PAGE) == 7 && intact(0, 9 * TEST_PAGE) && intact(10 * TEST_PAGE, SIZE);
}
static int do_read_hole(void) { return *(volatile size_t *)(area + 2 * TEST_TABLE - TEST_PAGE) != 0; }
static int do_fresh(void)
{
    char *p = mmap((void *)0x400000000, 4 * TEST_TABLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return errno;
    for (size_t i = 0; i < 4 * TEST_TABLE; i += TEST_TABLE)
        p[i] = 1;
    return 0;
}
static int do_file_map(void)
{
    char *p = mmap(NULL, 2 * TEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (p == MAP_FAILED)
        return errno;
    p[1] = p[TEST_PAGE];
    return 0;
}

/* Run one operation with the failure at every n, each in a child of its own. */
static void every(int (*run)(void), int (*judge)(int), int may_die)
{
    fill();
    file = TEST_SUCC(open("/proc/self/exe", O_RDONLY));
    for (int n = 1; n <= ROUNDS; n++) {
        pid_t child = TEST_SUCC(fork());
        if (child == 0) {
            arm(n);
            int failed = run();
            arm(0);
            if (failed != 0 && failed != ENOMEM)
                _exit(2);
            if (!judge(failed))
                _exit(3);
            if (failed && (run() != 0 || !judge(0)))
                _exit(4);
            _exit(0);
        }
        int status;
        TEST_RES(waitpid(child, &status, 0), _ret == child);
        arm(0);
        if (may_die && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            status = 0;
        TEST_EQ(status, 0);
        TEST_RES(intact(0, SIZE), _ret == 1);
    }
    TEST_SUCC(munmap(area, SIZE));
    TEST_SUCC(close(file));
}

FN_TEST(fork_again) { every(do_fork, whole, 1); }
FN_TEST(unmap_part) { every(do_unmap, judge_unmap, 0); }
FN_TEST(protect_part) { every(do_protect, whole, 0); }
FN_TEST(protect_none) { every(do_none, judge_none, 0); }
FN_TEST(dontneed) { every(do_dontneed, judge_dontneed, 0); }
FN_TEST(free_lazily) { every(do_free, whole, 0); }
FN_TEST(map_over) { every(do_map_over, judge_dontneed, 0); }
FN_TEST(move) { every(do_move, judge_move, 0); }
FN_TEST(shrink) { every(do_shrink, judge_shrink, 0); }
FN_TEST(heap) { every(do_brk, whole, 0); }
FN_TEST(read_into) { every(do_read, judge_read, 1); }
FN_TEST(write_fault) { every(do_write_fault, judge_write_fault, 1); }
FN_TEST(read_a_hole) { every(do_read_hole, whole, 1); }
FN_TEST(fresh_mapping) { every(do_fresh, whole, 1); }
FN_TEST(file_mapping) { every(do_file_map, whole, 1); }
