/* Swap, hazard 59: what one process and the kernel's own accesses see of pages that are not in memory. */
#include "swap.h"
#include <sys/uio.h>

FN_TEST(h59_more_than_there_is)
{
    long n = too_many_pages();
    unsigned char *p = filled(n, 1);
    EXPECT_PAGES(p, 0, n, 1);
    if (must_swap(n)) {
        long total = figure_kb("/proc/meminfo", "MemTotal");
        TEST_CHECK(figure_kb("/proc/self/status", "VmSwap") >= n * 4 - total);
        TEST_CHECK(figure_kb("/proc/self/status", "VmRSS") <= total);
        TEST_CHECK(swap_used_kb() >= n * 4 - total);
    }
    uint64_t at = 1;
    for (long k = 0; k < n; k++) { /* in no order */
        at = at * 6364136223846793005 + 1442695040888963407;
        long i = (at >> 33) % n;
        int old = *(uint64_t *)&AT(p, i) == word_of(i, 0, 1) ? 1 : 2;
        TEST_CHECK(page_holds(p, i, old));
        fill_page(p, i, 3 - old);
    }
    long first = 0;
    for (long i = 0; i < n; i++) {
        int salt = *(uint64_t *)&AT(p, i) == word_of(i, 0, 1) ? 1 : 2;
        TEST_CHECK(page_holds(p, i, salt));
        first += salt == 1;
    }
    TEST_CHECK(first > n / 8 && first < n);
    TEST_SUCC(munmap(p, n * TEST_PAGE));
    TEST_EQ(figure_kb("/proc/self/status", "VmSwap") > 2048, 0);
}

FN_TEST(h59_proc_swaps)
{
    static char text[512];
    int fd = TEST_SUCC(open("/proc/swaps", O_RDONLY));
    TEST_CHECK(TEST_SUCC(read(fd, text, sizeof text - 1)) > 0);
    close(fd);
    static const char head[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    TEST_EQ(strncmp(text, head, sizeof head - 1), 0);
    struct sysinfo info;
    TEST_SUCC(sysinfo(&info));
    long total = figure_kb("/proc/meminfo", "SwapTotal"), seen = figure_kb("/proc/meminfo", "SwapFree");
    TEST_EQ(info.totalswap * info.mem_unit / 1024, total);
    TEST_CHECK(labs((long)(info.freeswap * info.mem_unit / 1024) - seen) < 4096);
    long size, used, priority;
    char *line = text + sizeof head - 1, type[32];
    if (total == 0) {
        TEST_STR(line, "");
    } else {
        TEST_EQ(sscanf(line, "%*s %31s %ld %ld %ld", type, &size, &used, &priority), 4);
        TEST_CHECK(strcmp(type, "file") == 0 || strcmp(type, "partition") == 0);
        TEST_EQ(size, total);
        TEST_CHECK(used >= 0 && used <= size);
        TEST_CHECK(labs(used - (total - seen)) < 4096);
    }
}

FN_TEST(h59_figures_of_a_mapping)
{
    long n = too_many_pages();
    unsigned char *p = filled(n, 1);
    static uint64_t words[12288];
    int fd = TEST_SUCC(open("/proc/self/pagemap", O_RDONLY));
    long got = TEST_SUCC(pread(fd, words, n * 8, (uintptr_t)p / TEST_PAGE * 8)), present = 0, swapped = 0;
    TEST_EQ(got, n * 8);
    for (long i = 0; i < n; i++) {
        int in = words[i] >> 63, out = words[i] >> 62 & 1;
        TEST_EQ(in + out, 1); /* written, so it is somewhere */
        TEST_EQ(words[i] >> 61 & 1, 0);
        present += in;
        swapped += out;
    }
    close(fd);
    if (must_swap(n))
        TEST_CHECK(swapped * 4 >= n * 4 - figure_kb("/proc/meminfo", "MemTotal"));
    else
        TEST_EQ(swapped, 0);
    static unsigned char vec[12288];
    TEST_SUCC(mincore(p, n * TEST_PAGE, vec));
    long resident = 0;
    for (long i = 0; i < n; i++)
        resident += vec[i] & 1;
    TEST_CHECK(resident >= present - 1024 && resident <= n);
    EXPECT_PAGES(p, 0, n, 1); /* none of that has touched the data */
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_unmap_and_map_anew)
{
    long n = too_many_pages(), a = n / 3, b = n * 2 / 3;
    unsigned char *p = filled(n, 1);
    TEST_SUCC(munmap(&AT(p, a), (b - a) * TEST_PAGE));
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(p, a), TEST_PEEK(&AT(p, a)));
    EXPECT_PAGES(p, 0, a, 1);
    TEST_SUCC(mmap(&AT(p, a), (b - a) * TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    EXPECT_ZEROS(p, a, b);
    for (long i = a; i < b; i++)
        fill_page(p, i, 5);
    EXPECT_PAGES(p, 0, a, 1);
    EXPECT_PAGES(p, a, b, 5);
    EXPECT_PAGES(p, b, n, 1);
    TEST_SUCC(mmap(p, a * TEST_PAGE, RW, ANON | MAP_FIXED, -1, 0)); /* over swapped pages */
    EXPECT_ZEROS(p, 0, a);
    EXPECT_PAGES(p, b, n, 1);
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_dontneed_and_free)
{
    long n = too_many_pages(), a = n / 3;
    unsigned char *p = filled(n, 1);
    TEST_SUCC(madvise(p, a * TEST_PAGE, MADV_DONTNEED));
    EXPECT_PAGES(p, a, n, 1);
    EXPECT_ZEROS(p, 0, a);
    for (long i = 0; i < n; i++)
        fill_page(p, i, 2);
    TEST_SUCC(madvise(p, a * TEST_PAGE, MADV_FREE));
    for (long i = 0; i < a; i++)
        TEST_CHECK(page_is_zero(p, i) || page_holds(p, i, 2));
    for (long i = 0; i < a; i += 2)
        fill_page(p, i, 3); /* taken back */
    EXPECT_PAGES(p, a, n, 2);
    for (long i = 0; i < a; i++)
        TEST_CHECK(i % 2 == 0 ? page_holds(p, i, 3) : page_is_zero(p, i) || page_holds(p, i, 2));
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_protection)
{
    long n = too_many_pages(), a = n / 3;
    unsigned char *p = filled(n, 1);
    TEST_SUCC(mprotect(p, a * TEST_PAGE, PROT_NONE));
    EXPECT_PAGES(p, a, n, 1);
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 5), TEST_PEEK(&AT(p, 5)));
    TEST_SUCC(mprotect(p, a * TEST_PAGE, PROT_READ));
    EXPECT_PAGES(p, 0, a, 1);
    press();
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, &AT(p, 5) + 3, TEST_POKE(&AT(p, 5) + 3, 1));
    TEST_SUCC(mprotect(p, a * TEST_PAGE, RW));
    for (long i = 0; i < a; i += 3)
        fill_page(p, i, 2);
    press();
    for (long i = 0; i < n; i++)
        TEST_CHECK(page_holds(p, i, i < a && i % 3 == 0 ? 2 : 1));
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_remap)
{
    long n = too_many_pages() * 2 / 3;
    unsigned char *p = filled(n, 1), *q = test_map_aligned((n + 100) * TEST_PAGE, TEST_TABLE);
    TEST_SUCC(munmap(q, (n + 100) * TEST_PAGE));
    press();
    TEST_SUCC(mremap(p, n * TEST_PAGE, (n + 10) * TEST_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + 7 * TEST_PAGE));
    q += 7 * TEST_PAGE;
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, p, TEST_PEEK(p));
    EXPECT_PAGES(q, 0, n, 1);
    EXPECT_ZEROS(q, n, n + 10);
    press();
    unsigned char *r = mremap(q, (n + 10) * TEST_PAGE, n / 2 * TEST_PAGE, MREMAP_MAYMOVE);
    TEST_CHECK(r == q);
    EXPECT_PAGES(q, 0, n / 2, 1);
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, &AT(q, n / 2), TEST_PEEK(&AT(q, n / 2)));
    TEST_SUCC(munmap(q, n / 2 * TEST_PAGE));
}

FN_TEST(h59_pageout_and_willneed)
{
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(madvise(p, TEST_TABLE, MADV_PAGEOUT));
    if (figure_kb("/proc/meminfo", "SwapTotal") > 0)
        TEST_CHECK(figure_kb("/proc/self/status", "VmSwap") >= 1024);
    TEST_CHECK(marked(p, 0, 512));
    TEST_SUCC(madvise(p, TEST_TABLE, MADV_PAGEOUT));
    TEST_SUCC(madvise(p, TEST_TABLE, MADV_WILLNEED));
    TEST_CHECK(marked(p, 0, 512));
    TEST_SUCC(madvise(p, TEST_TABLE, MADV_PAGEOUT));
    TEST_CHILD({ TEST_CHECK(marked(p, 0, 512)); AT(p, 5) = 0; });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h59_locked_memory_stays)
{
    unsigned char vec[512], *p = table_of_pages(1);
    press();
    TEST_SUCC(mlock(p, TEST_TABLE));
    press();
    TEST_SUCC(mincore(p, TEST_TABLE, vec));
    for (int i = 0; i < 512; i++)
        TEST_EQ(vec[i] & 1, 1);
    TEST_CHECK(marked(p, 0, 512));
    TEST_SUCC(munlock(p, TEST_TABLE));
    press();
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h59_kernel_reads_and_writes)
{
    unsigned char *p = table_of_pages(1), got[TEST_PAGE];
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    press();
    TEST_RES(write(pipes[1], &AT(p, 9), TEST_PAGE), _ret == (long)TEST_PAGE);
    TEST_RES(read(pipes[0], got, TEST_PAGE), _ret == (long)TEST_PAGE);
    TEST_EQ(got[0] + got[TEST_PAGE - 1], 20);
    press();
    TEST_SUCC(write(pipes[1], "hello", 5));
    TEST_RES(read(pipes[0], &AT(p, 10) - 2, 100), _ret == 5); /* part of two pages that are out */
    TEST_EQ(memcmp(&AT(p, 10) - 2, "hello", 5), 0);
    TEST_EQ((&AT(p, 10))[-3], 0);
    TEST_EQ((&AT(p, 10))[TEST_PAGE - 1], 11);
    strcpy((char *)&AT(p, 20), "/proc/self/exe");
    press();
    close(TEST_SUCC(open((char *)&AT(p, 20), O_RDONLY)));
    strcpy((char *)&AT(p, 21), "true");
    press();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        char *argv[] = {(char *)&AT(p, 21), NULL};
        execv("/bin/true", argv);
        _exit(1);
    }
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 22, 512));
    close(pipes[0]), close(pipes[1]);
    drop(p, 1);
}

FN_TEST(h59_other_processes_read_and_write)
{
    unsigned char *p = table_of_pages(1), v = 88, w = 0;
    struct turns t = turns_new();
    char path[64];
    press();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        press();
        child_says(&t);
        child_hears(&t);
        TEST_EQ(AT(p, 80), 88);
        TEST_EQ(AT(p, 90), 'c');
        TEST_CHECK(marked(p, 91, 512));
        _exit(0);
    }
    parent_hears(&t);
    struct iovec local = {&v, 1}, remote = {&AT(p, 80), 1}, to = {&w, 1}, from = {&AT(p, 81), 1};
    TEST_RES(process_vm_readv(pid, &to, 1, &from, 1, 0), _ret == 1 && w == 82);
    press();
    TEST_RES(process_vm_writev(pid, &local, 1, &remote, 1, 0), _ret == 1);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = TEST_SUCC(open(path, O_RDWR));
    press();
    TEST_RES(pread(fd, &w, 1, (long)&AT(p, 82)), _ret == 1 && w == 83);
    TEST_RES(pwrite(fd, "c", 1, (long)&AT(p, 90)), _ret == 1);
    close(fd);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 512));
    turns_free(&t);
    drop(p, 1);
}

static volatile unsigned char *handler_page;
static void on_signal(int signo) { *handler_page = signo; }

FN_TEST(h59_signal_frame_and_code)
{
    static const unsigned char ret7[] = {0xb8, 7, 0, 0, 0, 0xc3};
    unsigned char *p = table_of_pages(1);
    TEST_SUCC(mprotect(p, TEST_TABLE, RW | PROT_EXEC));
    memcpy(&AT(p, 3), ret7, sizeof ret7);
    int (*f)(void) = (int (*)(void))&AT(p, 3);
    handler_page = &AT(p, 50);
    stack_t stack = {.ss_sp = p + 100 * TEST_PAGE, .ss_size = 16 * TEST_PAGE}, off = {.ss_flags = SS_DISABLE};
    TEST_SUCC(sigaltstack(&stack, NULL));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    TEST_SUCC(sigaction(SIGUSR1, &action, NULL));
    press();
    TEST_SUCC(raise(SIGUSR1));
    TEST_EQ(AT(p, 50), SIGUSR1);
    press();
    TEST_EQ(f(), 7);
    (&AT(p, 3))[1] = 8;
    press();
    TEST_EQ(f(), 8);
    TEST_CHILD({ TEST_EQ(f(), 8); (&AT(p, 3))[1] = 9; press(); TEST_EQ(f(), 9); });
    TEST_EQ(f(), 8);
    TEST_CHECK(marked(p, 4, 50) && marked(p, 51, 100));
    TEST_SUCC(sigaltstack(&off, NULL));
    drop(p, 1);
}

FN_TEST(h59_read_modify_write)
{
    long n = too_many_pages();
    unsigned char *p = test_map_aligned(n * TEST_PAGE, TEST_TABLE);
    for (int round = 0; round < 4; round++)
        for (long i = 0; i < n; i++)
            __atomic_add_fetch((unsigned *)&AT(p, i), i + 1, __ATOMIC_SEQ_CST);
    for (long i = 0; i < n; i++)
        TEST_EQ(*(unsigned *)&AT(p, i), 4 * (i + 1));
    TEST_SUCC(munmap(p, n * TEST_PAGE));
}

FN_TEST(h59_file_and_shared_pages_under_pressure)
{
    int fd = TEST_SUCC(memfd_create("swap", 0));
    TEST_SUCC(ftruncate(fd, 200 * TEST_PAGE));
    unsigned char *s = TEST_SUCC(mmap(NULL, 200 * TEST_PAGE, RW, MAP_SHARED, fd, 0));
    unsigned char *c = TEST_SUCC(mmap(NULL, 200 * TEST_PAGE, RW, MAP_PRIVATE, fd, 0));
    mark(s, 200);
    AT(c, 3) = 77; /* a private copy */
    press();
    TEST_CHILD({
        TEST_CHECK(marked(s, 0, 200) && marked(c, 0, 3) && marked(c, 4, 200));
        TEST_EQ(AT(c, 3), 77);
        AT(s, 5) = 66;
        AT(c, 6) = 55;
        press();
        TEST_EQ(AT(c, 6), 55);
    });
    press();
    TEST_EQ(AT(s, 5), 66);
    TEST_EQ(AT(c, 6), 7);
    TEST_EQ(AT(c, 3), 77);
    TEST_CHECK(marked(s, 6, 200));
    TEST_SUCC(munmap(s, 200 * TEST_PAGE));
    TEST_SUCC(munmap(c, 200 * TEST_PAGE));
    close(fd);
}

FN_TEST(h59_no_memory_and_no_swap_left)
{
    long total = figure_kb("/proc/meminfo", "MemTotal") + figure_kb("/proc/meminfo", "SwapTotal");
    if (!must_swap(too_many_pages()))
        return; /* the host would take it ill */
    unsigned char *p = table_of_pages(1);
    int status = TEST_CHILD_STATUS({
        unsigned char *q = mmap(NULL, 2 * total * 1024, RW, ANON | MAP_NORESERVE, -1, 0);
        for (long i = 0; i < 2 * total / 4; i++)
            AT(q, i) = 1;
    });
    TEST_EQ(status, SIGKILL);
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h59_swap_is_given_back)
{
    TEST_CHECK(swap_used_kb() <= 4096);
}
