/* How far stacks grow, what limits stop, and memory that is locked when it is touched. */
#include "test.h"
#include <sys/resource.h>
#include <sys/uio.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define AT ((unsigned char *)0x200000000000)

/* A page of stack at `at`, which has room to grow below it. */
static unsigned char *stack_at(unsigned char *at)
{
    return TEST_SUCC(mmap(at, TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
}

FN_TEST(write_from_a_stack_that_has_not_grown_yet)
{
    enum { SIZE = 400000 };
    int fd = TEST_SUCC(memfd_create("stack", 0));
    unsigned char *p = stack_at(AT) - 500000;
    p[495000] = 7;
    TEST_RES(pwrite(fd, p, SIZE, 0), _ret == SIZE);
    p = stack_at(AT + (1 << 28)) - 500000;
    struct iovec parts[2] = {{p, 300000}, {p + 300000, 100000}};
    TEST_RES(pwritev(fd, parts, 2, 0), _ret == SIZE);
    p = stack_at(AT + (2 << 28)) - 500000;
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_SUCC(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20));
    TEST_RES(write(pipes[1], p, SIZE), _ret == SIZE);
    /* What is mapped in front of the guard gap ends the read; the stack behind it grows in vain. */
    p = stack_at(AT + (3 << 28));
    TEST_SUCC(mmap(p - 100 * TEST_PAGE, 50 * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0));
    TEST_RES(pwrite(fd, p - 100 * TEST_PAGE, 100 * TEST_PAGE, 0), _ret == 50 * TEST_PAGE);
}
