/* Frame allocation fails at the n-th call, for every n, through each kind of fault and the kernel's own accesses. The
 * rules are in inject.h: a fault that finds no frame kills, and leaves what the other side sees as it was. */
#include "inject.h"

#define POKE(page, offset) (*(volatile char *)(area + (page) * TEST_PAGE + (offset)) = 7)
#define PEEK(page, offset) (*(volatile char *)(area + (page) * TEST_PAGE + (offset)))

/* -- anonymous memory ---------------------------------------------------------------------------------------------- */

static int do_write(void) { POKE(9, 100); return 0; }
static int judge_write(int failed) { return !failed && PEEK(9, 100) == 7 && all_intact(); }
static int do_read_hole(void) { return PEEK(800, 0) != 0; }
static int do_write_hole(void) { POKE(800, 100); return 0; }
static int judge_write_hole(int failed) { return !failed && PEEK(800, 100) == 7 && all_intact(); }
/* The hole is the zero page first, in the table that both share. */
static void with_zero_pages(void)
{
    three_tables();
    TEST_CHECK(zero(768, 1024));
}
static int do_fresh(void)
{
    char *p = mmap((char *)0x400000000, 4 * TEST_TABLE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return errno;
    for (size_t i = 0; i < 4 * TEST_TABLE; i += TEST_TABLE)
        p[i] = 1;
    return 0;
}

INJECT(write_fault, three_tables, .run = do_write, .judge = judge_write, .may_die = SIGKILL)
INJECT(read_a_hole, three_tables, empty_holes, .run = do_read_hole, .judge = same, .may_die = SIGKILL, .takes_from = 1)
INJECT(write_a_hole, three_tables, empty_holes, .run = do_write_hole, .judge = judge_write_hole, .may_die = SIGKILL)
INJECT(write_the_zero_page, with_zero_pages, .run = do_write_hole, .judge = judge_write_hole, .may_die = SIGKILL)
INJECT(fresh_mapping, three_tables, .run = do_fresh, .judge = same, .may_die = SIGKILL)

/* A stack that grows down inside a shared table: pages 400 to 512 of the area are it, nothing lies below. */
static void stack(void)
{
    area_size = TEST_TABLE;
    memset(written, 0, sizeof written);
    area = BASE;
    TEST_SUCC(mmap(area + 400 * TEST_PAGE, 112 * TEST_PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN,
                   -1, 0));
    area += 400 * TEST_PAGE;
    area_size = 112 * TEST_PAGE;
    fill(0, 112);
}
static int do_grow(void) { POKE(-1L, 100); return 0; }
static int do_grow_into_the_next_table(void) { POKE(-401L, 100); return 0; }
static int judge_grow(int failed) { return !failed && PEEK(-1L, 100) == 7 && all_intact(); }
static int judge_grow_far(int failed) { return !failed && PEEK(-401L, 100) == 7 && all_intact(); }

INJECT(stack_growth, stack, .run = do_grow, .judge = judge_grow, .may_die = SIGKILL)
INJECT(stack_growth_over_a_table, stack, .run = do_grow_into_the_next_table, .judge = judge_grow_far,
       .may_die = SIGKILL)

/* -- files --------------------------------------------------------------------------------------------------------- */

/* The area's marks are stored again where a store shows on the other side. */
static int do_write_shared(void) { fill(5, 6); return 0; }
static int do_read_shared_untouched(void) { return *(volatile size_t *)(area + 600 * TEST_PAGE) != mark_of(600); }
static int do_write_shared_untouched(void) { fill(600, 601); return 0; }
static int do_write_shared_hole(void)
{
    *(volatile char *)(area + 760 * TEST_PAGE) = 0; /* the file has no page there yet */
    return 0;
}
static int do_read_cold(void)
{
    int fd = open("/bin/sh", O_RDONLY);
    char *p = mmap((char *)0x400000000, 9 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return errno;
    int good = memcmp(p, "\177ELF", 4) == 0;
    p[5 * TEST_PAGE] = 1; /* read, and copied at once */
    p[1] = 1;             /* mapped, then copied */
    return munmap(p, 9 * TEST_PAGE) || close(fd) || !good ? -1 : 0;
}

INJECT(shared_file_write, shared_file, empty_shared, .run = do_write_shared, .judge = same, .may_die = SIGKILL)
INJECT(shared_file_read_new, shared_file, empty_shared, .run = do_read_shared_untouched, .judge = same,
       .may_die = SIGKILL, .takes_from = 1)
INJECT(shared_file_write_new, shared_file, empty_shared, .run = do_write_shared_untouched, .judge = same,
       .may_die = SIGKILL)
INJECT(shared_file_write_hole, shared_file, empty_shared, .run = do_write_shared_hole, .judge = same,
       .may_die = SIGKILL)
INJECT(private_file_copy, private_file, empty_private, .run = do_write, .judge = judge_write, .may_die = SIGKILL)
INJECT(private_file_read_new, private_file, empty_private, .run = do_read_shared_untouched, .judge = same,
       .may_die = SIGKILL, .takes_from = 1)
INJECT(private_file_copy_new, private_file, empty_private, .run = do_write_shared_untouched, .judge = same,
       .may_die = SIGKILL)
INJECT(cold_file, three_tables, .run = do_read_cold, .judge = same, .may_die = SIGKILL)

/* -- swap ---------------------------------------------------------------------------------------------------------- */

static int do_swap_in(void) { return *(volatile size_t *)(area + 30 * TEST_PAGE) != mark_of(30); }

INJECT(swap_in_for_reading, to_swap, page_out, .run = do_swap_in, .judge = same, .may_die = SIGKILL)
INJECT(swap_in_for_writing, to_swap, page_out, .run = do_write, .judge = judge_write, .may_die = SIGKILL)

/* -- the kernel's own accesses: EFAULT or less than was asked for ------------------------------------------------- */

static const size_t six[2] = {6 * TEST_PAGE, 9 * TEST_PAGE}; /* what is read into the area, in bytes from its start */

static int do_read_into(void)
{
    int fd = open("/bin/sh", O_RDONLY);
    if (fd < 0)
        return errno;
    ssize_t want = six[1] - six[0], got = pread(fd, area + six[0], want, 0);
    int code = errno;
    close(fd);
    return got == want ? 0 : got < 0 ? code : EFAULT;
}
static int judge_read_into(int failed)
{
    if (!intact(0, 6) || !intact(9, area_size / TEST_PAGE))
        return 0;
    return failed || memcmp(area + six[0], "\177ELF", 4) == 0;
}

INJECT(read_into_small_pages, three_tables, .run = do_read_into, .judge = judge_read_into, .also = EFAULT,
       .may_die = SIGKILL)
INJECT(read_into_swapped_pages, to_swap, page_out, .run = do_read_into, .judge = judge_read_into, .also = EFAULT,
       .may_die = SIGKILL)
INJECT(read_into_a_leaf, two_leaves, .run = do_read_into, .judge = judge_read_into, .also = EFAULT,
       .may_die = SIGKILL)
