/* What the tests of fork share. Names as in the hazard table: P parent, C child, G grandchild, T one page table. */
#ifndef FORKYARD_ODF_H
#define FORKYARD_ODF_H
#include "test.h"

#define AT(p, page) ((p)[(page) * TEST_PAGE])

/* Two pipes by which two processes take turns. */
struct turns {
    int down[2], up[2];
};

TEST_UNUSED static struct turns turns_new(void)
{
    struct turns t;
    TEST_SUCC(pipe(t.down));
    TEST_SUCC(pipe(t.up));
    return t;
}

TEST_UNUSED static void turns_free(struct turns *t)
{
    close(t->down[0]), close(t->down[1]), close(t->up[0]), close(t->up[1]);
}

static void turn_write(int fd) { TEST_SUCC(write(fd, "x", 1)); }

static void turn_read(int fd)
{
    char c; /* on the stack: its table may be shared too, that is part of the test */
    TEST_RES(read(fd, &c, 1), _ret == 1);
}

TEST_UNUSED static void child_says(struct turns *t) { turn_write(t->up[1]); }
TEST_UNUSED static void child_hears(struct turns *t) { turn_read(t->down[0]); }
TEST_UNUSED static void parent_says(struct turns *t) { turn_write(t->down[1]); }
TEST_UNUSED static void parent_hears(struct turns *t) { turn_read(t->up[0]); }

/* One whole table's worth of memory, page i marked with i (mod 251) + 1 in its first and last byte. */
TEST_UNUSED static void mark(unsigned char *p, int pages)
{
    for (int i = 0; i < pages; i++)
        AT(p, i) = p[i * TEST_PAGE + TEST_PAGE - 1] = i % 251 + 1;
}

TEST_UNUSED static int marked(const unsigned char *p, int from, int to)
{
    for (int i = from; i < to; i++)
        if (AT(p, i) != i % 251 + 1 || p[i * TEST_PAGE + TEST_PAGE - 1] != i % 251 + 1)
            return 0;
    return 1;
}

TEST_UNUSED static unsigned char *table_of_pages(int tables)
{
    unsigned char *p = test_map_aligned(tables * TEST_TABLE, TEST_TABLE);
    mark(p, tables * 512);
    return p;
}

/* A system call that touches no memory: neither a libc's stores nor a write of the kernel (fork's CHILD_SETTID) come
 * between it and the next access, which finds what the call has left in the TLB. */
TEST_UNUSED static inline __attribute__((always_inline)) long raw_call(long number, long a, long b, long c, long d,
                                                                       long e)
{
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define RAW_FORK() raw_call(SYS_fork, 0, 0, 0, 0, 0)
#define RAW_MUNMAP(at, length) raw_call(SYS_munmap, (long)(at), length, 0, 0, 0)
#define RAW_MPROTECT(at, length, prot) raw_call(SYS_mprotect, (long)(at), length, prot, 0, 0)
#define RAW_MADVISE(at, length, advice) raw_call(SYS_madvise, (long)(at), length, advice, 0, 0)
#define RAW_MREMAP(at, length, flags, to) raw_call(SYS_mremap, (long)(at), length, length, flags, (long)(to))
#define RAW_MMAP(at, length) raw_call(SYS_mmap, (long)(at), length, RW, ANON | MAP_FIXED, -1)

/* The translation of the byte at p is in the TLB, for reading only or, by stores of the same value, for writing too. */
TEST_UNUSED static inline __attribute__((always_inline)) void hot(volatile unsigned char *p, int writable)
{
    for (int i = 0; i < 100; i++) {
        unsigned char c = *p;
        if (writable)
            *p = c;
    }
}

TEST_UNUSED static void drop(unsigned char *p, int tables) { TEST_SUCC(munmap(p, tables * TEST_TABLE)); }
#endif
