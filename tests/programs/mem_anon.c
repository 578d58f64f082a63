/* Anonymous memory: demand zero, copy-on-write, placement, PROT_NONE, brk, stack growth. */
#include "test.h"
#include <sys/resource.h>

static int all_are(const unsigned char *p, size_t n, unsigned char v)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != v)
            return 0;
    return 1;
}

FN_TEST(demand_zero)
{
    unsigned char *p = test_map(64 * TEST_PAGE);
    TEST_CHECK(all_are(p, 32 * TEST_PAGE, 0)); /* read first: the shared zero page */
    for (int i = 0; i < 64; i += 3)
        p[i * TEST_PAGE + i] = i + 1;
    for (int i = 0; i < 64; i++)
        TEST_EQ(p[i * TEST_PAGE + i], i % 3 ? 0 : i + 1);
    TEST_EQ(p[TEST_PAGE - 1], 0);
    TEST_SUCC(munmap(p, 64 * TEST_PAGE));
}

FN_TEST(zero_page_is_never_written)
{
    unsigned char *a = test_map(TEST_PAGE), *b = test_map(TEST_PAGE);
    TEST_EQ(a[7], 0);
    TEST_EQ(b[7], 0);
    a[7] = 9;
    TEST_EQ(b[7], 0);
    TEST_CHILD({ TEST_EQ(a[7], 9); TEST_EQ(b[7], 0); b[7] = 3; });
    TEST_EQ(b[7], 0);
}

FN_TEST(freed_pages_come_back_zeroed)
{
    for (int round = 0; round < 20; round++) {
        unsigned char *p = test_map(16 * TEST_PAGE);
        TEST_CHECK(all_are(p, 16 * TEST_PAGE, 0));
        memset(p, 0xff, 16 * TEST_PAGE);
        TEST_SUCC(munmap(p, 16 * TEST_PAGE));
    }
}

FN_TEST(copy_on_write_both_ways)
{
    unsigned char *p = test_map(4 * TEST_PAGE);
    memset(p, 1, 4 * TEST_PAGE);
    int up[2], down[2];
    char c;
    TEST_SUCC(pipe(up));
    TEST_SUCC(pipe(down));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        p[0] = 2;
        TEST_SUCC(write(up[1], "x", 1));
        TEST_SUCC(read(down[0], &c, 1));
        TEST_EQ(p[0], 2);
        TEST_EQ(p[TEST_PAGE], 1); /* the parent has written 3 there */
        TEST_EQ(p[2 * TEST_PAGE], 1);
        _exit(0);
    }
    TEST_SUCC(read(up[0], &c, 1));
    TEST_EQ(p[0], 1);
    p[TEST_PAGE] = 3;
    TEST_SUCC(write(down[1], "x", 1));
    TEST_REAP(pid);
    TEST_EQ(p[0], 1);
    TEST_EQ(p[TEST_PAGE], 3);
    for (int i = 0; i < 2; i++) {
        close(up[i]);
        close(down[i]);
    }
}

FN_TEST(copy_on_write_keeps_the_rest_of_the_page)
{
    unsigned char *p = test_map(TEST_PAGE);
    for (unsigned i = 0; i < TEST_PAGE; i++)
        p[i] = i * 7;
    TEST_CHILD({
        p[100] = 0;
        for (unsigned i = 0; i < TEST_PAGE; i++)
            TEST_EQ(p[i], i == 100 ? 0 : (unsigned char)(i * 7));
    });
    for (unsigned i = 0; i < TEST_PAGE; i++)
        TEST_EQ(p[i], (unsigned char)(i * 7));
}

FN_TEST(store_across_two_pages)
{
    unsigned char *p = test_map(2 * TEST_PAGE);
    *(volatile uint64_t *)(p + TEST_PAGE - 3) = 0x1122334455667788;
    TEST_CHILD({
        *(volatile uint64_t *)(p + TEST_PAGE - 3) = 0;
        TEST_CHECK(all_are(p, 2 * TEST_PAGE, 0));
    });
    TEST_CHECK(*(volatile uint64_t *)(p + TEST_PAGE - 3) == 0x1122334455667788);
    TEST_EQ(p[TEST_PAGE], 0x55);
}

FN_TEST(large_sparse_mapping)
{
    size_t size = 16UL << 30;
    unsigned char *p = TEST_SUCC(mmap(NULL, size, RW, ANON | MAP_NORESERVE, -1, 0));
    for (size_t at = 0; at < size; at += 1UL << 30) {
        TEST_EQ(p[at], 0);
        p[at + 123] = at >> 30;
    }
    for (size_t at = 0; at < size; at += 1UL << 30)
        TEST_EQ(p[at + 123], at >> 30);
    TEST_SUCC(munmap(p, size));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p, TEST_PEEK(p));
}

FN_TEST(mmap_refusals)
{
    TEST_ERRNO(mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL); /* neither SHARED nor PRIVATE */
    TEST_ERRNO(syscall(SYS_mmap, NULL, TEST_PAGE, RW, ANON, -1, 1), EINVAL); /* offset not a page's */
    TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
    TEST_ERRNO(mmap(NULL, TEST_PAGE, RW, MAP_PRIVATE, 9999, 0), EBADF);
    TEST_ERRNO(mmap((void *)0x10001, TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    TEST_ERRNO(mmap((void *)1, TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    TEST_ERRNO(mmap(NULL, 0, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    TEST_ERRNO(mmap(NULL, 1UL << 47, RW, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
    TEST_ERRNO(mmap(NULL, ~0UL, RW, ANON, -1, 0), ENOMEM);
    TEST_ERRNO(mmap((void *)(1UL << 47), TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    TEST_ERRNO(mmap((void *)((1UL << 47) - TEST_PAGE), TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    int p[2];
    TEST_SUCC(pipe(p));
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, p[0], 0), ENODEV);
    TEST_ERRNO(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, p[1], 0), EACCES);
    close(p[0]);
    close(p[1]);
}

FN_TEST(munmap_refusals)
{
    unsigned char *p = test_map(TEST_PAGE);
    TEST_ERRNO(munmap(p + 1, TEST_PAGE), EINVAL);
    TEST_ERRNO(munmap(p, 0), EINVAL);
    TEST_ERRNO(munmap((void *)(1UL << 47), TEST_PAGE), EINVAL);
    TEST_ERRNO(munmap(p, ~0UL), EINVAL);
    TEST_SUCC(munmap(p, 1)); /* rounded up */
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 5, TEST_PEEK(p + 5));
    TEST_SUCC(munmap(p, TEST_PAGE)); /* nothing there: fine */
}

FN_TEST(munmap_over_holes_and_parts)
{
    unsigned char *p = test_map(10 * TEST_PAGE);
    memset(p, 5, 10 * TEST_PAGE);
    TEST_SUCC(munmap(p + 2 * TEST_PAGE, TEST_PAGE));
    TEST_SUCC(munmap(p + 5 * TEST_PAGE, TEST_PAGE));
    TEST_EQ(p[TEST_PAGE], 5);
    TEST_EQ(p[3 * TEST_PAGE], 5);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 2 * TEST_PAGE, TEST_POKE(p + 2 * TEST_PAGE, 1));
    TEST_SUCC(munmap(p + TEST_PAGE, 6 * TEST_PAGE));
    TEST_EQ(p[0], 5);
    TEST_EQ(p[7 * TEST_PAGE], 5);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + 6 * TEST_PAGE, TEST_POKE(p + 6 * TEST_PAGE, 1));
}

FN_TEST(map_fixed_replaces)
{
    unsigned char *p = test_map(4 * TEST_PAGE);
    memset(p, 7, 4 * TEST_PAGE);
    TEST_RES(mmap(p + TEST_PAGE, 2 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0), _ret == (long)(p + TEST_PAGE));
    TEST_EQ(p[TEST_PAGE - 1], 7);
    TEST_CHECK(all_are(p + TEST_PAGE, 2 * TEST_PAGE, 0));
    TEST_EQ(p[3 * TEST_PAGE], 7);
}

FN_TEST(map_fixed_noreplace)
{
    unsigned char *p = test_map(4 * TEST_PAGE);
    memset(p, 7, 4 * TEST_PAGE);
    TEST_ERRNO(mmap(p + TEST_PAGE, TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    TEST_ERRNO(mmap(p - TEST_PAGE, 2 * TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    TEST_EQ(p[TEST_PAGE], 7);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_RES(mmap(p + TEST_PAGE, TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), _ret == (long)(p + TEST_PAGE));
    TEST_EQ(p[TEST_PAGE], 0);
}

FN_TEST(hint_is_taken_when_free)
{
    unsigned char *p = test_map(16 * TEST_PAGE);
    TEST_SUCC(munmap(p + 4 * TEST_PAGE, 8 * TEST_PAGE));
    unsigned char *hint = p + 6 * TEST_PAGE;
    TEST_RES(mmap(hint, TEST_PAGE, RW, ANON, -1, 0), _ret == (long)hint);
    TEST_RES(mmap(hint, TEST_PAGE, RW, ANON, -1, 0), _ret != (long)hint && _ret != -1);
    TEST_RES(mmap(hint + TEST_PAGE + 5, TEST_PAGE, RW, ANON, -1, 0), _ret % 4096 == 0); /* rounded */
}

FN_TEST(mappings_do_not_overlap)
{
    enum { N = 200 };
    static unsigned char *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = TEST_SUCC(mmap(NULL, (i % 5 + 1) * TEST_PAGE, RW, ANON, -1, 0));
        memset(p[i], i, (i % 5 + 1) * TEST_PAGE);
    }
    for (int i = 0; i < N; i++)
        TEST_CHECK(all_are(p[i], (i % 5 + 1) * TEST_PAGE, i));
    for (int i = 0; i < N; i += 2)
        TEST_SUCC(munmap(p[i], (i % 5 + 1) * TEST_PAGE));
    for (int i = 1; i < N; i += 2)
        TEST_CHECK(all_are(p[i], (i % 5 + 1) * TEST_PAGE, i));
}

FN_TEST(populate)
{
    unsigned char vec[16];
    unsigned char *p = TEST_SUCC(mmap(NULL, 16 * TEST_PAGE, RW, ANON | MAP_POPULATE, -1, 0));
    TEST_SUCC(mincore(p, 16 * TEST_PAGE, vec));
    for (int i = 0; i < 16; i++)
        TEST_EQ(vec[i] & 1, 1);
    TEST_CHECK(all_are(p, 16 * TEST_PAGE, 0));
    p = TEST_SUCC(mmap(NULL, 4 * TEST_PAGE, PROT_NONE, ANON | MAP_POPULATE, -1, 0));
    TEST_SUCC(mincore(p, 4 * TEST_PAGE, vec));
    TEST_EQ(vec[0] & 1, 0);
}

FN_TEST(prot_none_reserves)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 64 * TEST_TABLE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 77, TEST_PEEK(p + 77));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 78, TEST_POKE(p + 78, 1));
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, RW));
    p[TEST_PAGE] = 4;
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 2 * TEST_PAGE, TEST_PEEK(p + 2 * TEST_PAGE));
    TEST_SUCC(munmap(p, 64 * TEST_TABLE));
}

FN_TEST(write_only_is_readable_on_x86)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_WRITE, ANON, -1, 0));
    TEST_NO_FAULT(TEST_POKE(p, 4));
    TEST_NO_FAULT(TEST_EQ(TEST_PEEK(p), 4));
}

FN_TEST(brk_moves)
{
    unsigned char *start = (void *)syscall(SYS_brk, 0);
    unsigned char *base = (unsigned char *)(((uintptr_t)start + TEST_PAGE - 1) & -TEST_PAGE);
    TEST_RES(syscall(SYS_brk, base + 5 * TEST_PAGE), _ret == (long)(base + 5 * TEST_PAGE));
    TEST_CHECK(all_are(base, 5 * TEST_PAGE, 0));
    memset(base, 6, 5 * TEST_PAGE);
    TEST_RES(syscall(SYS_brk, base + 2 * TEST_PAGE + 1), _ret == (long)(base + 2 * TEST_PAGE + 1));
    TEST_EQ(base[3 * TEST_PAGE - 1], 6); /* the page is there to its end */
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, base + 3 * TEST_PAGE, TEST_PEEK(base + 3 * TEST_PAGE));
    TEST_RES(syscall(SYS_brk, base + 5 * TEST_PAGE), _ret == (long)(base + 5 * TEST_PAGE));
    TEST_CHECK(all_are(base + 3 * TEST_PAGE, 2 * TEST_PAGE, 0)); /* what came back is fresh */
    TEST_EQ(base[2 * TEST_PAGE + 100], 6);
    TEST_RES(syscall(SYS_brk, 4096), _ret == (long)(base + 5 * TEST_PAGE)); /* below the start: refused */
    TEST_RES(syscall(SYS_brk, ~0UL), _ret == (long)(base + 5 * TEST_PAGE));
    TEST_RES(syscall(SYS_brk, start), _ret == (long)start);
}

FN_TEST(brk_does_not_run_into_a_mapping)
{
    unsigned char *start = (void *)syscall(SYS_brk, 0);
    unsigned char *base = (unsigned char *)(((uintptr_t)start + TEST_PAGE - 1) & -TEST_PAGE);
    TEST_SUCC(mmap(base + 4 * TEST_PAGE, TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    TEST_RES(syscall(SYS_brk, base + 8 * TEST_PAGE), _ret == (long)start);
    TEST_SUCC(munmap(base + 4 * TEST_PAGE, TEST_PAGE));
    TEST_RES(syscall(SYS_brk, base + 8 * TEST_PAGE), _ret == (long)(base + 8 * TEST_PAGE));
    TEST_RES(syscall(SYS_brk, start), _ret == (long)start);
}

FN_TEST(brk_obeys_rlimit_data)
{
    TEST_CHILD({
        struct rlimit limit = {1 << 20, 1 << 20};
        unsigned char *start = (void *)syscall(SYS_brk, 0);
        TEST_SUCC(setrlimit(RLIMIT_DATA, &limit));
        TEST_RES(syscall(SYS_brk, start + (8 << 20)), _ret == (long)start);
    });
}

FN_TEST(rlimit_as)
{
    TEST_CHILD({
        struct rlimit limit = {1 << 30, 1 << 30};
        TEST_SUCC(setrlimit(RLIMIT_AS, &limit));
        TEST_ERRNO(mmap(NULL, 2UL << 30, RW, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
        TEST_SUCC(mmap(NULL, 1 << 20, RW, ANON, -1, 0));
    });
}

static volatile int sink;

__attribute__((noinline)) static int use_stack(int depth)
{
    volatile unsigned char frame[3000];
    memset((void *)frame, depth, sizeof frame);
    if (depth > 0)
        sink += use_stack(depth - 1);
    return frame[depth % 3000] == (unsigned char)depth;
}

FN_TEST(stack_grows)
{
    TEST_EQ(use_stack(1500), 1); /* 4.5 MB of the 8 MB limit */
    TEST_CHILD({ TEST_EQ(use_stack(2000), 1); });
}

FN_TEST(stack_grows_under_a_far_access)
{
    /* Linux lets the stack grow to any address above the limit, however far below RSP. */
    TEST_CHILD({
        unsigned char here;
        volatile unsigned char *far = &here - (3 << 20);
        TEST_NO_FAULT(TEST_POKE(far, 8));
        TEST_EQ(*far, 8);
    });
}

FN_TEST(stack_limit_is_sigsegv)
{
    struct rlimit limit;
    TEST_SUCC(getrlimit(RLIMIT_STACK, &limit));
    if (limit.rlim_cur == RLIM_INFINITY)
        return;
    TEST_EQ(TEST_CHILD_STATUS({
        struct rlimit small = {1 << 20, limit.rlim_max};
        TEST_SUCC(setrlimit(RLIMIT_STACK, &small));
        use_stack(2000);
    }) & 127, SIGSEGV);
}

static unsigned char alternate[65536];
static volatile uintptr_t overflow_at, overflow_code;

static void on_overflow(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    overflow_at = (uintptr_t)info->si_addr;
    overflow_code = info->si_code;
    siglongjmp(test_fault_out, 1);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
__attribute__((noinline)) static int recurse(volatile unsigned char *above)
{
    volatile unsigned char frame[512];
    frame[0] = above[0];
    return recurse(frame) + frame[0];
}

FN_TEST(stack_overflow_handled_on_the_alternate_stack)
{
    TEST_CHILD({
        struct rlimit small = {512 << 10, RLIM_INFINITY};
        getrlimit(RLIMIT_STACK, &small);
        small.rlim_cur = 512 << 10;
        TEST_SUCC(setrlimit(RLIMIT_STACK, &small));
        stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
        TEST_SUCC(sigaltstack(&stack, NULL));
        struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
        action.sa_sigaction = on_overflow;
        TEST_SUCC(sigaction(SIGSEGV, &action, NULL));
        unsigned char here = 0;
        if (!sigsetjmp(test_fault_out, 1))
            recurse(&here);
        TEST_CHECK((uintptr_t)&here - overflow_at < (8 << 20));
        TEST_EQ(overflow_code, SEGV_MAPERR);
    });
}

FN_TEST(growsdown_guard_gap)
{
    /* A MAP_GROWSDOWN mapping stops growing 256 pages above the mapping below it. */
    unsigned char *area = TEST_SUCC(mmap(NULL, 1024 * TEST_PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
    TEST_SUCC(munmap(area + TEST_PAGE, 1023 * TEST_PAGE));
    TEST_SUCC(mprotect(area, TEST_PAGE, RW));
    unsigned char *top = area + 1000 * TEST_PAGE;
    TEST_SUCC(mmap(top, TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    TEST_NO_FAULT(TEST_POKE(top, 1));
    TEST_NO_FAULT(TEST_POKE(top - 1, 2));
    TEST_NO_FAULT(TEST_POKE(top - 700 * TEST_PAGE, 3)); /* 299 pages above the neighbour */
    TEST_EQ(top[-1], 2);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, area + 100 * TEST_PAGE, TEST_POKE(area + 100 * TEST_PAGE, 1));
    area[0] = 1;
}

FN_TEST(many_pages_fork_and_write)
{
    enum { PAGES = 1500 };
    unsigned char *p = test_map(PAGES * TEST_PAGE);
    for (int i = 0; i < PAGES; i++)
        p[i * TEST_PAGE] = i;
    TEST_CHILD({
        for (int i = 0; i < PAGES; i++) {
            TEST_EQ(p[i * TEST_PAGE], i & 255);
            p[i * TEST_PAGE] = i + 1;
        }
        for (int i = 0; i < PAGES; i++)
            TEST_EQ(p[i * TEST_PAGE], (i + 1) & 255);
    });
    for (int i = 0; i < PAGES; i++)
        TEST_EQ(p[i * TEST_PAGE], i & 255);
}

FN_TEST(maps_shows_what_was_mapped)
{
    unsigned char *p = test_map(3 * TEST_PAGE);
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, PROT_READ));
    char want[64], line[512];
    int seen = 0;
    snprintf(want, sizeof want, "%lx-%lx r--p 00000000 00:00 0", (long)(p + TEST_PAGE), (long)(p + 2 * TEST_PAGE));
    FILE *f = fopen("/proc/self/maps", "r");
    TEST_CHECK(f != NULL);
    while (fgets(line, sizeof line, f))
        seen += strncmp(line, want, strlen(want)) == 0;
    fclose(f);
    TEST_EQ(seen, 1);
}
