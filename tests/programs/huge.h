/* What the tests of 2 MiB pages share. A leaf is a PMD entry that maps 2 MiB itself, with no table below it.
 *
 * Where the kernel gives no huge pages the same tests run on small ones: all data must be right either way. Only
 * EXPECT_LEAVES needs them; `has_leaves` asks the kernel once. */
#ifndef FORKYARD_HUGE_H
#define FORKYARD_HUGE_H
#include "figures.h"
#include "odf.h"

#define LEAF_KB 2048

/* Room for n leaves, aligned, asked for by madvise; nothing touched. */
TEST_UNUSED static unsigned char *leaf_room(int n)
{
    unsigned char *p = test_map_aligned(n * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(madvise(p, n * TEST_TABLE, MADV_HUGEPAGE));
    return p;
}

/* n leaves, every small page marked as table_of_pages does. */
TEST_UNUSED static unsigned char *leaves(int n)
{
    unsigned char *p = leaf_room(n);
    mark(p, n * 512);
    return p;
}

TEST_UNUSED static int has_leaves(void)
{
    static int known = -1;
    if (known < 0) {
        unsigned char *p = leaves(1);
        known = smaps_kb(p, TEST_TABLE, "AnonHugePages") == LEAF_KB;
        drop(p, 1);
    }
    return known;
}

/* n leaves are mapped in [p, p + length), if this kernel gives any. */
#define EXPECT_LEAVES(p, length, n)                                                        \
    do {                                                                                   \
        if (has_leaves())                                                                  \
            TEST_EQ(smaps_kb(p, length, "AnonHugePages"), (n) * LEAF_KB);                  \
    } while (0)
#endif
