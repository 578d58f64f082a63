/* As many mappings as there may be (vm.max_map_count). */
#include "test.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define AT ((unsigned char *)0x200000000000)

FN_TEST(most_mappings)
{
    TEST_CHILD({
        unsigned char *p = AT;
        int n = 0;
        while (mmap(p + 2 * n * TEST_PAGE, TEST_PAGE, PROT_READ, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED)
            n++;
        TEST_EQ(errno, ENOMEM);
        /* One more than a cut may make: neither can be had, nor one that would be joined or replace another. */
        TEST_ERRNO(mmap(p, TEST_PAGE, PROT_READ, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0), ENOMEM);
        TEST_SUCC(munmap(p, TEST_PAGE));
        TEST_SUCC(munmap(p + 2 * TEST_PAGE, TEST_PAGE));
        TEST_SUCC(mmap(p, 3 * TEST_PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
        TEST_ERRNO(mprotect(p + TEST_PAGE, TEST_PAGE, PROT_NONE), ENOMEM);
        TEST_ERRNO(mprotect(p, TEST_PAGE, PROT_NONE), ENOMEM);
        TEST_ERRNO(munmap(p + TEST_PAGE, TEST_PAGE), ENOMEM);
        TEST_SUCC(munmap(p, TEST_PAGE));
    });
}
