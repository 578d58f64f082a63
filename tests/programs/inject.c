/* Frame allocation fails at the n-th call, for every n, through fork and the mapping calls over small pages. The rules
 * are in inject.h. */
#include "inject.h"

static char *const moved = (char *)0x300001000;

static int do_unmap(void) { return munmap(area + TEST_PAGE, TEST_TABLE) ? errno : 0; }
static int judge_unmap(int failed) { return failed ? all_intact() : intact(0, 1) && intact(513, 1536); }
static int do_protect(void) { return mprotect(area + TEST_PAGE, TEST_TABLE, PROT_READ) ? errno : 0; }
static int do_none(void) { return mprotect(area, TEST_PAGE, PROT_NONE) ? errno : 0; }
static int judge_none(int failed) { return intact(failed ? 0 : 1, 1536); }
static int do_dontneed(void) { return madvise(area + TEST_PAGE, TEST_PAGE, MADV_DONTNEED) ? errno : 0; }
static int judge_dontneed(int failed)
{
    return failed ? all_intact() : intact(0, 1) && zero(1, 2) && intact(2, 1536);
}
static int do_free(void) { return madvise(area, TEST_TABLE, MADV_FREE) ? errno : 0; }
static int do_free_part(void) { return madvise(area + 7 * TEST_PAGE, TEST_TABLE, MADV_FREE) ? errno : 0; }
static int do_populate_read(void)
{
    return madvise(area + TEST_PAGE, 2 * TEST_TABLE, MADV_POPULATE_READ) ? errno : 0;
}
static int do_populate_write(void) /* four holes at the end of one table, four pages of the next */
{
    return madvise(area + 1020 * TEST_PAGE, 8 * TEST_PAGE, MADV_POPULATE_WRITE) ? errno : 0;
}
static int do_collapse(void) { return madvise(area + TEST_TABLE, TEST_TABLE, MADV_COLLAPSE) ? errno : 0; }
static int do_lock(void) { return mlock(area + TEST_TABLE - TEST_PAGE, 2 * TEST_PAGE) ? errno : 0; }
static void unlock(void) { TEST_SUCC(munlock(area + TEST_TABLE - TEST_PAGE, 2 * TEST_PAGE)); }
static int do_guard(void) { return madvise(area + TEST_PAGE, TEST_TABLE, 102 /* MADV_GUARD_INSTALL */) ? errno : 0; }
static int judge_guard(int failed)
{
    if (failed)
        return all_intact();
    if (madvise(area, area_size, 103 /* MADV_GUARD_REMOVE */))
        return 0;
    return intact(0, 1) && zero(1, 513) && intact(513, 1536);
}
static int do_map_over(void)
{
    void *p = mmap(area + TEST_PAGE, TEST_PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}
static int do_move(void)
{
    return mremap(area, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == MAP_FAILED ? errno : 0;
}
static int judge_move(int failed) { return failed ? all_intact() : holds(moved, 0, 512) && intact(512, 1536); }
static int do_shrink(void) { return mremap(area, area_size, TEST_PAGE, 0) == MAP_FAILED ? errno : 0; }
static int judge_shrink(int failed) { return intact(0, failed ? 1536 : 1); }
static int do_msync(void) { return msync(area, area_size, MS_SYNC) ? errno : 0; }

INJECT_FORKS(fork_again, three_tables)
INJECT(unmap_part, three_tables, .run = do_unmap, .judge = judge_unmap, .takes_from = 1)
INJECT(protect_part, three_tables, .run = do_protect, .judge = same, .takes_from = 1)
INJECT(protect_none, three_tables, .run = do_none, .judge = judge_none, .takes_from = 1)
INJECT(dontneed, three_tables, .run = do_dontneed, .judge = judge_dontneed, .takes_from = 1)
INJECT(free_lazily, three_tables, .run = do_free, .judge = same, .takes_from = 1)
INJECT(free_a_part_lazily, three_tables, .run = do_free_part, .judge = same, .takes_from = 1)
INJECT(populate_for_reading, three_tables, empty_holes, .run = do_populate_read, .judge = same, .takes_from = 1)
INJECT(populate_for_writing, three_tables, empty_holes, .run = do_populate_write, .judge = same)
INJECT(collapse, three_tables, empty_holes, .run = do_collapse, .judge = same, .host_may_refuse = 1)
INJECT(lock, three_tables, empty_holes, .run = do_lock, .undo = unlock, .judge = same,
       .also = EAGAIN, .host_may_refuse = 1)
INJECT(guard, three_tables, .run = do_guard, .judge = judge_guard, .host_may_refuse = 1, .takes_from = 1)
INJECT(map_over, three_tables, .run = do_map_over, .judge = judge_dontneed, .takes_from = 1)
INJECT(move, three_tables, .run = do_move, .judge = judge_move)
INJECT(shrink, three_tables, .run = do_shrink, .judge = judge_shrink, .takes_from = 1)
INJECT(sync_shared, shared_file, .run = do_msync, .judge = same, .takes_from = 1)

/* -- the heap: its end inside a shared table ----------------------------------------------------------------------- */

static void heap(void)
{
    size_t start = (size_t)sbrk(0);
    TEST_SUCC(sbrk(-start % TEST_TABLE + TEST_TABLE + TEST_TABLE / 2));
    area = (char *)((start + TEST_TABLE - 1) & -TEST_TABLE);
    area_size = TEST_TABLE + TEST_TABLE / 2;
    memset(written, 0, sizeof written);
    fill(0, 768);
}
static void no_heap(void) { TEST_SUCC(sbrk(-area_size)); }
static int do_shrink_heap(void) { return sbrk(-(long)(600 * TEST_PAGE)) == (void *)-1 ? errno : 0; }
static int judge_shrink_heap(int failed) { return intact(0, failed ? 768 : 168); }
static int do_grow_heap(void)
{
    char *end = sbrk(TEST_TABLE);
    if (end == (void *)-1)
        return errno;
    end[0] = end[TEST_TABLE - 1] = 1; /* the first in the shared table, the last in one that is made */
    return 0;
}

INJECT(shrink_heap, heap, .run = do_shrink_heap, .judge = judge_shrink_heap, .clean = no_heap, .takes_from = 1)
INJECT(grow_heap, heap, .run = do_grow_heap, .judge = same, .clean = no_heap, .may_die = SIGKILL)

/* -- pages in the swap area ---------------------------------------------------------------------------------------- */

static int do_unmap_swapped(void) { return munmap(area + TEST_PAGE, 5 * TEST_PAGE) ? errno : 0; }
static int judge_unmap_swapped(int failed) { return failed ? all_intact() : intact(0, 1) && intact(6, 640); }
static int do_move_swapped(void)
{
    void *p = mremap(area + TEST_PAGE, TEST_TABLE, TEST_TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
    return p == MAP_FAILED ? errno : 0;
}
static int judge_move_swapped(int failed)
{
    return failed ? all_intact() : intact(0, 1) && holds(moved, 1, 513) && intact(513, 640);
}
static int do_collapse_swapped(void) { return madvise(area, TEST_TABLE, MADV_COLLAPSE) ? errno : 0; }

INJECT(unmap_swapped, to_swap, page_out, .run = do_unmap_swapped, .judge = judge_unmap_swapped, .takes_from = 1)
INJECT(protect_swapped, to_swap, page_out, .run = do_protect, .judge = same, .takes_from = 1)
INJECT(move_swapped, to_swap, page_out, .run = do_move_swapped, .judge = judge_move_swapped)
INJECT(populate_swapped, to_swap, page_out, .run = do_lock, .undo = unlock, .judge = same, .also = EAGAIN,
       .host_may_refuse = 1)
INJECT(collapse_swapped, to_swap, page_out, .run = do_collapse_swapped, .judge = same, .host_may_refuse = 1)
INJECT_FORKS(fork_swapped, to_swap, page_out)
