/* Prints what mmap says to each flag bit, with each type and several kinds of file; `mem_flags pool` leaves out
 * MAP_HUGETLB, which is up to who else takes pages from the host's pool. */
#define TEST_NO_MAIN
#include "test.h"

int main(int argc, char **argv)
{
    (void)argv;
    static const char *const names[] = {"anonymous", "program", "memfd", "/dev/zero"};
    int fds[] = {-1, open("/proc/self/exe", O_RDONLY), memfd_create("flags", 0), open("/dev/zero", O_RDWR)};
    unsigned char *at = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(at, 1 << 20);
    ftruncate(fds[2], 2 * TEST_PAGE);
    for (int file = 0; file < 4; file++)
        for (unsigned type = 0; type < 16; type++)
            for (int prot = PROT_READ; prot <= (PROT_READ | PROT_WRITE); prot += 2)
                for (int bit = 3; bit < 32; bit++) { /* bit 3 is in the type: none besides it */
                    unsigned flags = type | (bit == 3 ? 0 : 1u << bit) | (file ? 0 : MAP_ANONYMOUS);
                    /* MAP_SYNC is up to the file system that the program happens to be on. */
                    if ((file == 1 && bit == 19) || (file && bit == 5) || (bit == 18 && argc > 1))
                        continue;
                    void *got = mmap(at, 2 * TEST_PAGE, prot, flags, fds[file], 0);
                    test_print("%s type %u prot %d bit %d: %s%s\n", names[file], type, prot, bit,
                               got == MAP_FAILED ? test_errno_name(errno) : "mapped", got == at ? " there" : "");
                    if (got != MAP_FAILED)
                        munmap(got, 2 * TEST_PAGE);
                }
    return 0;
}
