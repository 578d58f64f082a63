/* What the tests of 2 MiB pages share. A leaf is a PMD entry that maps 2 MiB itself, with no table below it.
 *
 * Where the kernel gives no huge pages the same tests run on small ones: all data must be right either way. Only
 * EXPECT_LEAVES needs them; `has_leaves` asks the kernel once. */
#ifndef FORKYARD_HUGE_H
#define FORKYARD_HUGE_H
#include "odf.h"

#define LEAF_KB 2048

/* The figure of smaps (kB), summed over the mappings that overlap [p, p + length). */
TEST_UNUSED static long smaps_kb(const void *p, size_t length, const char *field)
{
    static char text[1 << 17];
    size_t n = 0, width = strlen(field);
    int fd = TEST_SUCC(open("/proc/self/smaps", O_RDONLY));
    for (ssize_t got; n < sizeof text - 1 && (got = TEST_SUCC(read(fd, text + n, sizeof text - 1 - n))) > 0;)
        n += got;
    close(fd);
    text[n] = 0;
    long kb = 0;
    int inside = 0;
    for (char *line = text, *next; *line; line = next) {
        unsigned long start, end;
        next = strchr(line, '\n');
        next = next ? next + 1 : line + strlen(line);
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start < (uintptr_t)p + length && end > (uintptr_t)p;
        else if (inside && strncmp(line, field, width) == 0 && line[width] == ':')
            kb += atol(line + width + 1);
    }
    return kb;
}

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
