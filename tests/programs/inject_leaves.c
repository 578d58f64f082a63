/* Frame allocation fails at the n-th call, for every n, where a 2 MiB leaf is filled, copied, split or moved. The rules
 * are in inject.h. */
#include "inject.h"

static char *const moved = (char *)0x300000000;

static int do_unmap(void) { return munmap(area + TEST_PAGE, TEST_TABLE) ? errno : 0; }
static int judge_unmap(int failed) { return failed ? all_intact() : intact(0, 1) && intact(513, 1024); }
static int do_unmap_one(void) { return munmap(area + TEST_TABLE, TEST_TABLE) ? errno : 0; }
static int judge_unmap_one(int failed) { return intact(0, failed ? 1024 : 512); }
static int do_protect(void) { return mprotect(area + 9 * TEST_PAGE, TEST_TABLE, PROT_READ) ? errno : 0; }
static int do_protect_one(void) { return mprotect(area, TEST_TABLE, PROT_READ) ? errno : 0; }
static int do_dontneed(void) { return madvise(area + 9 * TEST_PAGE, TEST_TABLE, MADV_DONTNEED) ? errno : 0; }
static int judge_dontneed(int failed)
{
    return failed ? all_intact() : intact(0, 9) && zero(9, 521) && intact(521, 1024);
}
static int do_free(void) { return madvise(area, TEST_TABLE + TEST_PAGE, MADV_FREE) ? errno : 0; }
static int do_dontfork(void) { return madvise(area + TEST_PAGE, TEST_TABLE, MADV_DONTFORK) ? errno : 0; }
static int do_map_over(void)
{
    void *p = mmap(area + 9 * TEST_PAGE, TEST_TABLE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}
static int move(size_t from, size_t pages, char *to)
{
    void *p = mremap(area + from * TEST_PAGE, pages * TEST_PAGE, pages * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    return p == MAP_FAILED ? errno : 0;
}
static int do_move(void) { return move(0, 512, moved); }
static int judge_move(int failed) { return failed ? all_intact() : holds(moved, 0, 512) && intact(512, 1024); }
static int do_move_askew(void) { return move(0, 512, moved + TEST_PAGE); }
static int judge_move_askew(int failed)
{
    return failed ? all_intact() : holds(moved + TEST_PAGE, 0, 512) && intact(512, 1024);
}
static int do_move_part(void) { return move(300, 400, moved); }
static int judge_move_part(int failed)
{
    return failed ? all_intact() : intact(0, 300) && holds(moved, 300, 700) && intact(700, 1024);
}
static int do_shrink(void) { return mremap(area, area_size, 5 * TEST_PAGE, 0) == MAP_FAILED ? errno : 0; }
static int judge_shrink(int failed) { return intact(0, failed ? 1024 : 5); }
static int do_lock(void) { return mlock(area + TEST_TABLE - TEST_PAGE, 2 * TEST_PAGE) ? errno : 0; }
static void unlock(void) { TEST_SUCC(munlock(area + TEST_TABLE - TEST_PAGE, 2 * TEST_PAGE)); }

INJECT(unmap_parts, two_leaves, .run = do_unmap, .judge = judge_unmap)
INJECT(unmap_one, two_leaves, .run = do_unmap_one, .judge = judge_unmap_one, .takes_from = 2)
INJECT(protect_parts, two_leaves, .run = do_protect, .judge = same)
INJECT(protect_one, two_leaves, .run = do_protect_one, .judge = same, .takes_from = 2)
INJECT(dontneed_of_parts, two_leaves, .run = do_dontneed, .judge = judge_dontneed)
INJECT(free_parts_lazily, two_leaves, .run = do_free, .judge = same)
INJECT(dontfork_of_parts, two_leaves, .run = do_dontfork, .judge = same)
INJECT(map_over_parts, two_leaves, .run = do_map_over, .judge = judge_dontneed)
INJECT(move_one, two_leaves, .run = do_move, .judge = judge_move)
INJECT(move_askew, two_leaves, .run = do_move_askew, .judge = judge_move_askew)
INJECT(move_parts, two_leaves, .run = do_move_part, .judge = judge_move_part)
INJECT(shrink, two_leaves, .run = do_shrink, .judge = judge_shrink)
INJECT(lock_parts, two_leaves, .run = do_lock, .undo = unlock, .judge = same, .also = EAGAIN, .host_may_refuse = 1)
INJECT_FORKS(fork_both, two_leaves)

/* -- faults -------------------------------------------------------------------------------------------------------- */

static int do_write(void) { *(volatile char *)(area + 9 * TEST_PAGE + 100) = 7; return 0; }
static int judge_write(int failed) { return !failed && area[9 * TEST_PAGE + 100] == 7 && all_intact(); }

/* The first write of the area's second 2 MiB: a leaf, or small pages where none can be had. */
static void one_leaf_of_two(void)
{
    map_area(2 * TEST_TABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    TEST_SUCC(madvise(area, area_size, MADV_HUGEPAGE));
    fill(0, 512);
}
static void second_empty(void) { forget(512, 1024, MADV_DONTNEED); }
static int do_first_write(void) { *(volatile char *)(area + 777 * TEST_PAGE + 100) = 7; return 0; }
static int *fallbacks; /* shared by all: rounds in which small pages had to do */
static int judge_first_write(int failed)
{
    *fallbacks += smaps_kb(area, area_size, "AnonHugePages") < 4096; /* of both halves */
    return !failed && area[777 * TEST_PAGE + 100] == 7 && intact(0, 512) && zero(512, 777) && zero(778, 1024);
}

static int do_write_both(void)
{
    for (size_t i = 3; i < 1024; i += 256)
        *(volatile char *)(area + i * TEST_PAGE + 100) = 7;
    return 0;
}

FN_TEST(first_write)
{
    static const struct operation o = {one_leaf_of_two, second_empty, .run = do_first_write, .judge = judge_first_write,
                                       .may_die = SIGKILL};
    fallbacks = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    every(&o);
    if (emulated())
        TEST_EQ(*fallbacks, 1); /* no leaf is to be had once, and small pages are */
    TEST_SUCC(munmap(fallbacks, TEST_PAGE));
}
INJECT(copy_on_write, two_leaves, .run = do_write, .judge = judge_write, .may_die = SIGKILL)
INJECT(copy_on_write_of_both, two_leaves, .run = do_write_both, .judge = same, .may_die = SIGKILL)

/* MAP_HUGETLB: the pool's own pages. A host without a pool refuses the mapping, and there is nothing to test. */
static void pool_page(void)
{
    area_size = TEST_TABLE;
    memset(written, 0, sizeof written);
    area = mmap(BASE, area_size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0);
    if (area == MAP_FAILED && !emulated())
        area = TEST_SUCC(mmap(BASE, area_size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    TEST_CHECK(area != MAP_FAILED);
    fill(0, 512);
}

INJECT(copy_on_write_from_the_pool, pool_page, .run = do_write, .judge = judge_write, .may_die = SIGBUS)
