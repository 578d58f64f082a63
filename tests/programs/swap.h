/* What the tests of swap share: more memory than the machine has, filled so that every byte can be checked.
 *
 * `forkyard run --memory 32M --swap 128M -- odf_swap`. Where nothing has to be swapped (the host has plenty of memory)
 * the same data must be right; only what `must_swap` guards needs a swap file. */
#ifndef FORKYARD_SWAP_H
#define FORKYARD_SWAP_H
#include "figures.h"
#include "odf.h"
#include <sys/sysinfo.h>

#define WORDS (TEST_PAGE / sizeof(uint64_t))

/* Every word of page i differs from every other word and from the same word of another salt. */
static inline uint64_t word_of(long page, long word, uint64_t salt)
{
    return ((uint64_t)page * WORDS + word + 1) * 0x9E3779B97F4A7C15 ^ salt << 56;
}

TEST_UNUSED static void fill_page(unsigned char *p, long page, uint64_t salt)
{
    uint64_t *at = (uint64_t *)&AT(p, page);
    for (unsigned w = 0; w < WORDS; w++)
        at[w] = word_of(page, w, salt);
}

TEST_UNUSED static int page_holds(const unsigned char *p, long page, uint64_t salt)
{
    const uint64_t *at = (const uint64_t *)&AT(p, page);
    for (unsigned w = 0; w < WORDS; w++)
        if (at[w] != word_of(page, w, salt))
            return 0;
    return 1;
}

TEST_UNUSED static int page_is_zero(const unsigned char *p, long page)
{
    const uint64_t *at = (const uint64_t *)&AT(p, page);
    for (unsigned w = 0; w < WORDS; w++)
        if (at[w])
            return 0;
    return 1;
}

/* All pages of [from, to) hold salt; names the first that does not. */
#define EXPECT_PAGES(p, from, to, salt)                                                    \
    do {                                                                                   \
        for (long _page = (from); _page < (to); _page++)                                   \
            if (!page_holds(p, _page, salt))                                               \
                test_fail(__FILE__, __LINE__, "page %ld does not hold " #salt, _page);     \
    } while (0)

#define EXPECT_ZEROS(p, from, to)                                                          \
    do {                                                                                   \
        for (long _page = (from); _page < (to); _page++)                                   \
            if (!page_is_zero(p, _page))                                                   \
                test_fail(__FILE__, __LINE__, "page %ld is not zero", _page);              \
    } while (0)

TEST_UNUSED static long swap_used_kb(void)
{
    return figure_kb("/proc/meminfo", "SwapTotal") - figure_kb("/proc/meminfo", "SwapFree");
}

/* Half as much again as the machine has, at most 48 MiB; in pages. */
TEST_UNUSED static long too_many_pages(void)
{
    long pages = figure_kb("/proc/meminfo", "MemTotal") / 4;
    pages += pages / 2;
    return pages < 12288 ? pages : 12288;
}

/* That many pages do not fit without swap, and there is some. */
TEST_UNUSED static int must_swap(long pages)
{
    return pages > figure_kb("/proc/meminfo", "MemTotal") / 4 && figure_kb("/proc/meminfo", "SwapTotal") > 0;
}

TEST_UNUSED static unsigned char *filled(long pages, uint64_t salt)
{
    unsigned char *p = test_map_aligned(pages * TEST_PAGE, TEST_TABLE);
    TEST_SUCC(madvise(p, pages * TEST_PAGE, MADV_NOHUGEPAGE));
    for (long i = 0; i < pages; i++)
        fill_page(p, i, salt);
    return p;
}

/* Use so much other memory that what was not used of late is swapped out. */
TEST_UNUSED static void press(void)
{
    long pages = too_many_pages() * 3 / 4;
    unsigned char *q = filled(pages, 0xEE);
    TEST_CHECK(page_holds(q, pages - 1, 0xEE));
    TEST_SUCC(munmap(q, pages * TEST_PAGE));
}
#endif
