/* On-demand fork, hazards 12-20, 22-25, 27-29, 60, 64: mapping calls on part of a shared table. */
#include "odf.h"
#include <sys/resource.h>

FN_TEST(h12_child_unmaps_one_page)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 200), {
            hot(&AT(p, 200), 0);
            RAW_MUNMAP(&AT(p, 200), TEST_PAGE);
            TEST_PEEK(&AT(p, 200)); /* at once, here and in what follows */
        });
        TEST_CHECK(marked(p, 0, 200));
        TEST_CHECK(marked(p, 201, 512));
        AT(p, 199) = 1;
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h13_child_unmaps_whole_tables)
{
    unsigned char *p = table_of_pages(3);
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 511), {
            hot(&AT(p, 511), 0);
            RAW_MUNMAP(p, TEST_TABLE);
            TEST_PEEK(&AT(p, 511));
        });
        TEST_CHECK(marked(p, 512, 1536));
    });
    TEST_CHECK(marked(p, 0, 1536));
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 600), {
            hot(&AT(p, 600), 0);
            RAW_MUNMAP(&AT(p, 100), 2 * TEST_TABLE); /* one whole, two in part */
            TEST_PEEK(&AT(p, 600));
        });
        TEST_CHECK(marked(p, 0, 100));
        TEST_CHECK(marked(p, 1124, 1536));
    });
    TEST_CHECK(marked(p, 0, 1536));
    TEST_CHILD({ drop(p, 3); });
    TEST_CHECK(marked(p, 0, 1536));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork()); /* and the parent, before the child reads */
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 1536));
        _exit(0);
    }
    drop(p, 3);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
}

FN_TEST(h14_two_mappings_in_one_table)
{
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(&AT(p, 250), 10 * TEST_PAGE));
    mark(p, 250);
    AT(p, 300) = 44;
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p, {
            hot(p, 0);
            RAW_MUNMAP(p, 250 * TEST_PAGE);
            TEST_PEEK(p);
        });
        TEST_EQ(AT(p, 300), 44);
        AT(p, 300) = 45;
    });
    TEST_CHECK(marked(p, 0, 250));
    TEST_EQ(AT(p, 300), 44);
    drop(p, 1);
}

FN_TEST(h15_mapping_over_two_tables)
{
    unsigned char *p = table_of_pages(2);
    TEST_CHILD({
        AT(p, 3) = 222;
        TEST_CHECK(marked(p, 4, 1024));
        AT(p, 511) = AT(p, 512) = 223; /* both sides of the border */
        *(volatile uint64_t *)(&AT(p, 512) - 4) = 0x1111111122222222;
        TEST_EQ(AT(p, 512), 0x11);
    });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h16_many_mappings_split_merged_unmapped)
{
    unsigned char *p = table_of_pages(1);
    for (int i = 0; i < 10; i++) /* ten mappings by alternating protection */
        TEST_SUCC(mprotect(&AT(p, i * 50), 25 * TEST_PAGE, PROT_READ));
    TEST_CHILD({
        TEST_SUCC(mprotect(p, TEST_TABLE, RW));
        TEST_SUCC(munmap(&AT(p, 60), 5 * TEST_PAGE));
        TEST_SUCC(mprotect(&AT(p, 100), 30 * TEST_PAGE, PROT_NONE));
        TEST_CHECK(marked(p, 0, 60));
        TEST_CHECK(marked(p, 130, 512));
        AT(p, 0) = 250;
        TEST_CHILD({
            TEST_EQ(AT(p, 0), 250);
            TEST_SUCC(mprotect(&AT(p, 100), 30 * TEST_PAGE, RW));
            TEST_CHECK(marked(p, 65, 512));
        });
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 101), TEST_PEEK(&AT(p, 101)));
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 51), TEST_POKE(&AT(p, 51), 1));
    drop(p, 1);
}

FN_TEST(h17_child_changes_protection_of_one_page)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, PROT_NONE)); /* P's own guard page */
    TEST_CHILD({
        unsigned char *page = &AT(p, 20);
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, page, {
            hot(page, 0);
            RAW_MPROTECT(page, TEST_PAGE, PROT_NONE);
            TEST_PEEK(page);
        });
        TEST_SUCC(mprotect(page, TEST_PAGE, PROT_READ));
        TEST_EQ(*page, 21);
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 30), {
            hot(&AT(p, 30), 1);
            RAW_MPROTECT(&AT(p, 30), TEST_PAGE, PROT_READ);
            TEST_POKE(&AT(p, 30), 1);
        });
        TEST_EQ(AT(p, 30), 31);
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, page, TEST_POKE(page, 1));
        TEST_SUCC(mprotect(page, TEST_PAGE, RW));
        *page = 1;
        TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, RW)); /* opens its own guard page */
        TEST_EQ(AT(p, 10), 11);
        AT(p, 10) = 2;
    });
    TEST_CHECK(marked(p, 20, 512));
    TEST_NO_FAULT(TEST_POKE(&AT(p, 20), 21));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 10), TEST_PEEK(&AT(p, 10)));
    TEST_SUCC(mprotect(&AT(p, 10), TEST_PAGE, PROT_READ));
    TEST_EQ(AT(p, 10), 11);
    drop(p, 1);
}

FN_TEST(h18_read_only_and_back)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
        TEST_SUCC(mprotect(p, TEST_TABLE, RW));
        child_says(&t);
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512)); /* P has written */
        AT(p, 1) = 7;
        child_says(&t);
        child_hears(&t);
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 0) = 99;
    AT(p, 500) = 98;
    parent_says(&t);
    parent_hears(&t);
    TEST_EQ(AT(p, 1), 2);
    TEST_EQ(AT(p, 0), 99);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h18_the_parent_does_it)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_CHECK(marked(p, 0, 512));
        _exit(0);
    }
    TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
    TEST_SUCC(mprotect(p, TEST_TABLE, RW));
    for (int i = 0; i < 512; i++)
        AT(p, i) = 1;
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h19_filled_then_read_only)
{
    for (int how = 0; how < 3; how++) {
        unsigned char *p = table_of_pages(1);
        TEST_SUCC(mprotect(p, TEST_TABLE, PROT_READ));
        TEST_CHILD({
            if (how == 1)
                TEST_SUCC(munmap(p, TEST_TABLE));
            if (how == 2)
                TEST_CHECK(marked(p, 0, 512));
        });
        TEST_CHECK(marked(p, 0, 512));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1));
        TEST_SUCC(mprotect(p, TEST_TABLE, RW));
        AT(p, 0) = 9;
        drop(p, 1);
    }
}

FN_TEST(h20_read_only_beside_writable)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(mprotect(p, 256 * TEST_PAGE, PROT_READ));
    TEST_CHILD({
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 100) + 5, TEST_POKE(&AT(p, 100) + 5, 1));
        TEST_NO_FAULT(TEST_POKE(&AT(p, 300), 1));
        TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 100), TEST_POKE(&AT(p, 100), 1));
        TEST_EQ(AT(p, 300), 1);
        TEST_CHECK(marked(p, 0, 300));
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 1), TEST_POKE(&AT(p, 1), 1));
    TEST_NO_FAULT(TEST_POKE(&AT(p, 301), 1));
    drop(p, 1);
}

FN_TEST(h22_parent_maps_into_a_hole)
{
    for (int write = 0; write < 2; write++) {
        unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
        TEST_SUCC(munmap(&AT(p, 256), 256 * TEST_PAGE));
        mark(p, 256);
        struct turns t = turns_new();
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            child_hears(&t);
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 300), TEST_PEEK(&AT(p, 300)));
            TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 301), TEST_POKE(&AT(p, 301), 1));
            TEST_CHECK(marked(p, 0, 256));
            _exit(0);
        }
        TEST_SUCC(mmap(&AT(p, 300), 2 * TEST_PAGE, write ? RW : PROT_READ, ANON | MAP_FIXED_NOREPLACE, -1, 0));
        TEST_EQ(AT(p, 300), 0); /* the zero page: an entry all the same */
        if (write)
            AT(p, 301) = 3;
        parent_says(&t);
        TEST_REAP(pid);
        TEST_EQ(AT(p, 300), 0);
        turns_free(&t);
        TEST_SUCC(munmap(p, TEST_TABLE));
    }
}

FN_TEST(h22_file_page_into_a_hole)
{
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(&AT(p, 256), 256 * TEST_PAGE));
    mark(p, 256);
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, 300), TEST_PEEK(&AT(p, 300)));
        _exit(0);
    }
    TEST_SUCC(mmap(&AT(p, 300), TEST_PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0));
    TEST_EQ(AT(p, 300), 0x7f);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    close(fd);
    TEST_SUCC(munmap(p, TEST_TABLE));
}

FN_TEST(h23_brk_inside_a_shared_table)
{
    unsigned char *start = (void *)syscall(SYS_brk, 0);
    unsigned char *base = (unsigned char *)(((uintptr_t)start + TEST_PAGE - 1) & -TEST_PAGE);
    TEST_RES(syscall(SYS_brk, base + 6 * TEST_PAGE), _ret == (long)(base + 6 * TEST_PAGE));
    memset(base, 5, 6 * TEST_PAGE);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_RES(syscall(SYS_brk, base + 9 * TEST_PAGE), _ret != -1);
        TEST_EQ(AT(base, 8), 0);
        memset(base + 6 * TEST_PAGE, 7, 3 * TEST_PAGE);
        child_says(&t);
        child_hears(&t);
        TEST_EQ(AT(base, 3), 5); /* P has shrunk and grown again */
        TEST_EQ(AT(base, 7), 7);
        TEST_RES(syscall(SYS_brk, base + TEST_PAGE), _ret != -1);
        TEST_RES(syscall(SYS_brk, base + 4 * TEST_PAGE), _ret != -1);
        TEST_EQ(AT(base, 0), 5);
        TEST_EQ(AT(base, 2), 0);
        _exit(0);
    }
    parent_hears(&t);
    TEST_RES(syscall(SYS_brk, base + 2 * TEST_PAGE), _ret != -1);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(base, 3), TEST_PEEK(&AT(base, 3)));
    TEST_RES(syscall(SYS_brk, base + 9 * TEST_PAGE), _ret != -1);
    for (int i = 0; i < 9; i++)
        TEST_EQ(AT(base, i), i < 2 ? 5 : 0);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_EQ(AT(base, 0), 5);
    TEST_RES(syscall(SYS_brk, start), _ret == (long)start);
    turns_free(&t);
}

__attribute__((noinline)) static int deep(int depth, int seed)
{
    volatile unsigned char frame[2000];
    for (int i = 0; i < 2000; i += 100)
        frame[i] = seed + depth;
    int below = depth ? deep(depth - 1, seed) : 0;
    return below + (frame[(depth * 100) % 2000] == (unsigned char)(seed + depth));
}

FN_TEST(h24_stack_growth_inside_a_shared_table)
{
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_EQ(deep(600, 3), 601);
        TEST_CHILD({ TEST_EQ(deep(900, 4), 901); });
        TEST_EQ(deep(700, 5), 701);
        _exit(0);
    }
    TEST_EQ(deep(500, 1), 501);
    parent_says(&t);
    TEST_EQ(deep(650, 2), 651);
    TEST_REAP(pid);
    turns_free(&t);
}

FN_TEST(h24_guard_gap_of_a_growing_mapping)
{
    unsigned char *area = test_map_aligned(2 * TEST_TABLE, TEST_TABLE);
    TEST_SUCC(munmap(area + TEST_PAGE, 2 * TEST_TABLE - TEST_PAGE));
    area[0] = 1;
    unsigned char *top = area + 500 * TEST_PAGE;
    TEST_SUCC(mmap(top, 2 * TEST_PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    top[0] = 2;
    TEST_CHILD({
        TEST_NO_FAULT(TEST_POKE(top - 100 * TEST_PAGE, 3));
        TEST_FAULTS(SIGSEGV, SEGV_MAPERR, area + 40 * TEST_PAGE, TEST_POKE(area + 40 * TEST_PAGE, 1));
    });
    TEST_EQ(top[0], 2);
    TEST_NO_FAULT(TEST_EQ(TEST_PEEK(top - 100 * TEST_PAGE), 0)); /* grown here on its own, and zero */
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, area + 40 * TEST_PAGE, TEST_POKE(area + 40 * TEST_PAGE, 1));
    TEST_SUCC(munmap(area, 2 * TEST_TABLE));
}

FN_TEST(h25_empty_entry_of_a_shared_table)
{
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    mark(p, 10);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_EQ(AT(p, 100), 0);
        AT(p, 100) = 1;
        TEST_EQ(AT(p, 101), 0);
        child_says(&t);
        child_hears(&t);
        TEST_EQ(AT(p, 102), 0);
        _exit(0);
    }
    parent_hears(&t);
    TEST_EQ(AT(p, 100), 0);
    TEST_EQ(AT(p, 101), 0);
    AT(p, 102) = 1;
    parent_says(&t);
    TEST_REAP(pid);
    unsigned char *q = test_map(TEST_PAGE);
    TEST_EQ(q[0], 0); /* the zero page is still zero */
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h27_shared_and_private_in_one_table)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(mmap(&AT(p, 100), 100 * TEST_PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    AT(p, 100) = 1;
    TEST_CHILD({
        AT(p, 100) = 2;  /* through the shared table */
        AT(p, 101) = 3;  /* not there yet */
        AT(p, 0) = 100;  /* now the table is copied */
        AT(p, 100) += 5;
        AT(p, 102) = 4;
    });
    TEST_EQ(AT(p, 100), 7);
    TEST_EQ(AT(p, 101), 3);
    TEST_EQ(AT(p, 102), 4);
    TEST_CHECK(marked(p, 0, 100));
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        for (int i = 0; i < 20; i++) {
            child_hears(&t);
            TEST_EQ(AT(p, 150), i);
            AT(p, 151) = i;
            child_says(&t);
        }
        _exit(0);
    }
    for (int i = 0; i < 20; i++) {
        AT(p, 150) = i;
        AT(p, 300) = i; /* private neighbour */
        parent_says(&t);
        parent_hears(&t);
        TEST_EQ(AT(p, 151), i);
    }
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

static int file_of_pages(const char *name, int pages)
{
    int fd = TEST_SUCC(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
    TEST_SUCC(ftruncate(fd, pages * TEST_PAGE));
    for (int i = 0; i < pages; i++) {
        char c = 'a' + i % 26;
        TEST_SUCC(pwrite(fd, &c, 1, i * TEST_PAGE));
    }
    return fd;
}

FN_TEST(h28_dirty_shared_file_pages)
{
    for (int parent_first = 0; parent_first < 2; parent_first++) {
        char name[32];
        snprintf(name, sizeof name, "odf-shared-%d", parent_first);
        int fd = file_of_pages(name, 8);
        unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
        TEST_SUCC(mmap(p, 8 * TEST_PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
        AT(p, 100) = 1;
        AT(p, 1) = 'P';
        struct turns t = turns_new();
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            child_hears(&t);
            AT(p, 2) = 'C';
            AT(p, 100) = 2; /* copies the table: Dirty goes along */
            TEST_SUCC(munmap(p, TEST_TABLE));
            child_says(&t);
            _exit(0);
        }
        if (parent_first)
            TEST_SUCC(munmap(p, TEST_TABLE));
        parent_says(&t);
        parent_hears(&t);
        TEST_REAP(pid);
        if (!parent_first)
            TEST_SUCC(munmap(p, TEST_TABLE));
        char c[2];
        TEST_SUCC(pread(fd, c, 1, TEST_PAGE));
        TEST_SUCC(pread(fd, c + 1, 1, 2 * TEST_PAGE));
        TEST_EQ(c[0], 'P');
        TEST_EQ(c[1], 'C');
        close(fd); /* the file stays for the harness to compare */
        turns_free(&t);
    }
}

FN_TEST(h29_private_file_mapping)
{
    int fd = file_of_pages("odf-private", 20);
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    TEST_SUCC(mmap(p, 20 * TEST_PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0));
    AT(p, 3) = 'X'; /* one page copied before the fork */
    TEST_CHILD({
        TEST_EQ(AT(p, 3), 'X');
        AT(p, 3) = 'Y';
        AT(p, 4) = 'Z';
        TEST_EQ(AT(p, 5), 'f');
    });
    char c;
    for (int i = 0; i < 20; i++) {
        TEST_EQ(AT(p, i), i == 3 ? 'X' : 'a' + i);
        TEST_SUCC(pread(fd, &c, 1, i * TEST_PAGE));
        TEST_EQ(c, 'a' + i);
    }
    close(fd);
    drop(p, 1);
    unlink("odf-private");
}

FN_TEST(h64_whole_table_unmapped_and_mapped_anew)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        TEST_SUCC(munmap(p, TEST_TABLE));
        TEST_SUCC(mmap(p, TEST_TABLE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
        for (int i = 0; i < 512; i++)
            TEST_EQ(AT(p, i), 0);
        for (int i = 0; i < 512; i++)
            AT(p, i) = 250;
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({
        hot(&AT(p, 5), 0);
        RAW_MMAP(p, TEST_TABLE); /* in one step */
        TEST_EQ(AT(p, 5), 0);
        AT(p, 5) = 1;
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}
