/* Code that changes: self-modifying, JIT pages reused, pages of code that become another program's. */
#include "test.h"

#define RWX (RW | PROT_EXEC)

typedef int (*function)(void);

/* mov eax, value; ret */
static void put_return(unsigned char *at, int value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

static int call(void *at)
{
    return ((function)at)();
}

static unsigned char *code_page(void)
{
    return TEST_SUCC(mmap(NULL, TEST_PAGE, RWX, ANON, -1, 0));
}

FN_TEST(rewrite_a_function)
{
    unsigned char *p = code_page();
    for (int i = 0; i < 200; i++) {
        put_return(p, i);
        TEST_EQ(call(p), i);
    }
}

FN_TEST(rewrite_only_the_immediate)
{
    unsigned char *p = code_page();
    put_return(p, 5);
    TEST_EQ(call(p), 5);
    TEST_EQ(call(p), 5);
    *(volatile unsigned char *)(p + 1) = 6;
    TEST_EQ(call(p), 6);
    *(volatile int *)(p + 1) = 70000;
    TEST_EQ(call(p), 70000);
}

FN_TEST(code_that_changes_itself)
{
    /* mov byte [rip + 1], 9; mov eax, 1; ret : the store lands in the next instruction */
    static const unsigned char code[] = {0xc6, 0x05, 1, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0, 0xc3};
    unsigned char *p = code_page();
    memcpy(p, code, sizeof code);
    TEST_EQ(call(p), 9);
    memcpy(p, code, sizeof code);
    TEST_EQ(call(p), 9);
}

FN_TEST(code_that_changes_the_loop_it_is_in)
{
    /* The second round adds five, not one: the first has rewritten the operand. */
    static const unsigned char code[] = {
        0x31, 0xc0,                               /* xor eax, eax */
        0x83, 0xc0, 0x01,                         /* L: add eax, 1   (the 1 is patched) */
        0xc6, 0x05, 0xf8, 0xff, 0xff, 0xff, 0x05, /* mov byte [L + 2], 5 */
        0x83, 0xf8, 0x20,                         /* cmp eax, 32 */
        0x7c, 0xf1,                               /* jl L */
        0xc3,
    };
    unsigned char *p = code_page();
    memcpy(p, code, sizeof code);
    TEST_EQ(call(p), 36); /* 1, then fives: 6, 11, … 31, 36 */
}

FN_TEST(two_pages_one_instruction)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RWX, ANON, -1, 0));
    unsigned char *at = p + TEST_PAGE - 3;
    put_return(at, 0x01020304);
    TEST_EQ(call(at), 0x01020304);
    p[TEST_PAGE] = 0xff; /* the third byte of the immediate, on the second page */
    TEST_EQ(call(at), 0x01ff0304);
}

FN_TEST(write_then_protect)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, ANON, -1, 0));
    for (int i = 0; i < 20; i++) {
        put_return(p, i);
        TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ | PROT_EXEC));
        TEST_EQ(call(p), i);
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + 1, TEST_POKE(p + 1, 1));
        TEST_SUCC(mprotect(p, TEST_PAGE, RW));
    }
}

FN_TEST(page_unmapped_and_mapped_anew)
{
    unsigned char *p = code_page();
    for (int i = 0; i < 50; i++) {
        put_return(p, i);
        TEST_EQ(call(p), i);
        TEST_SUCC(munmap(p, TEST_PAGE));
        TEST_RES(mmap(p, TEST_PAGE, RWX, ANON | MAP_FIXED, -1, 0), _ret == (long)p);
        TEST_EQ(p[0], 0);
    }
}

FN_TEST(dontneed_drops_code)
{
    unsigned char *p = code_page();
    put_return(p, 3);
    TEST_EQ(call(p), 3);
    TEST_SUCC(madvise(p, TEST_PAGE, MADV_DONTNEED));
    put_return(p, 4);
    TEST_EQ(call(p), 4);
}

FN_TEST(remapped_code)
{
    unsigned char *p = code_page(), *to = code_page();
    put_return(p, 1);
    put_return(to, 2);
    TEST_EQ(call(p), 1);
    TEST_EQ(call(to), 2);
    TEST_SUCC(mremap(p, TEST_PAGE, TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
    TEST_EQ(call(to), 1);
}

FN_TEST(code_written_by_the_kernel)
{
    unsigned char *p = code_page(), code[6];
    int fd[2];
    TEST_SUCC(pipe(fd));
    for (int i = 0; i < 20; i++) {
        put_return(code, i);
        TEST_SUCC(write(fd[1], code, 6));
        TEST_RES(read(fd[0], p, 6), _ret == 6);
        TEST_EQ(call(p), i);
    }
    close(fd[0]), close(fd[1]);
}

FN_TEST(two_views_of_one_page)
{
    int fd = TEST_SUCC(memfd_create("jit", 0));
    TEST_SUCC(ftruncate(fd, TEST_PAGE));
    unsigned char *w = TEST_SUCC(mmap(NULL, TEST_PAGE, RW, MAP_SHARED, fd, 0));
    unsigned char *x = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
    for (int i = 0; i < 20; i++) {
        put_return(w, i);
        TEST_EQ(call(x), i);
    }
    unsigned char code[6];
    put_return(code, 99);
    TEST_RES(pwrite(fd, code, 6, 0), _ret == 6);
    TEST_EQ(call(x), 99);
    close(fd);
}

FN_TEST(child_patches_its_own_copy)
{
    unsigned char *p = code_page();
    put_return(p, 1);
    TEST_EQ(call(p), 1);
    TEST_CHILD({
        TEST_EQ(call(p), 1);
        put_return(p, 2);
        TEST_EQ(call(p), 2);
        TEST_CHILD({ put_return(p, 3); TEST_EQ(call(p), 3); });
        TEST_EQ(call(p), 2);
    });
    TEST_EQ(call(p), 1);
}

FN_TEST(parent_patches_while_the_child_runs_the_old_code)
{
    unsigned char *p = code_page();
    int go[2], back[2];
    char c;
    TEST_SUCC(pipe(go));
    TEST_SUCC(pipe(back));
    put_return(p, 1);
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        for (int i = 0; i < 10; i++) {
            TEST_RES(read(go[0], &c, 1), _ret == 1);
            TEST_EQ(call(p), 1);
            TEST_SUCC(write(back[1], "x", 1));
        }
        _exit(0);
    }
    for (int i = 0; i < 10; i++) {
        put_return(p, 100 + i);
        TEST_EQ(call(p), 100 + i);
        TEST_SUCC(write(go[1], "x", 1));
        TEST_RES(read(back[0], &c, 1), _ret == 1);
    }
    TEST_REAP(pid);
    close(go[0]), close(go[1]), close(back[0]), close(back[1]);
}

FN_TEST(same_address_other_code_in_each_child)
{
    /* Each child maps code of its own at one address; pages are freed and reused by the next. */
    unsigned char *at = code_page();
    TEST_SUCC(munmap(at, TEST_PAGE));
    for (int i = 0; i < 20; i++)
        TEST_CHILD({
            unsigned char *p = TEST_SUCC(mmap(at, TEST_PAGE, RWX, ANON | MAP_FIXED, -1, 0));
            put_return(p, i);
            TEST_EQ(call(p), i);
        });
}

FN_TEST(exec_replaces_all_code)
{
    for (int i = 0; i < 5; i++) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            execl(i % 2 ? "/bin/true" : "/bin/false", "x", (char *)NULL);
            _exit(7);
        }
        TEST_EQ(test_wait(pid), i % 2 ? 0 : 0x100);
    }
}

FN_TEST(instruction_fetch_needs_exec_on_the_second_page)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 2 * TEST_PAGE, RWX, ANON, -1, 0));
    put_return(p + TEST_PAGE - 3, 7);
    TEST_EQ(call(p + TEST_PAGE - 3), 7);
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, RW));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p + TEST_PAGE, call(p + TEST_PAGE - 3));
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p + TEST_PAGE, call(p + TEST_PAGE - 3));
}

FN_TEST(thousand_small_functions)
{
    unsigned char *p = TEST_SUCC(mmap(NULL, 4 * TEST_PAGE, RWX, ANON, -1, 0));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            put_return(p + i * 16, i * 3 + round);
        for (int i = 0; i < 1000; i++)
            TEST_EQ(call(p + i * 16), i * 3 + round);
    }
}
