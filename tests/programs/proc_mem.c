/* Memory through /proc and process_vm_*: maps, smaps, mem, pagemap; of this process and of a child. */
#include "proc.h"
#include <sys/prctl.h>
#include <sys/uio.h>

struct mapping {
    unsigned long start, end, offset, ino;
    char perms[8], name[256];
};

/* The line of /proc/self/maps that holds `address`; 0 when none does. */
static int find_mapping(const void *address, struct mapping *m)
{
    TEST_CHECK(proc_read("/proc/self/maps") > 0);
    for (char *line = proc_text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        m->name[0] = 0;
        int n = sscanf(line, "%lx-%lx %7s %lx %*s %lu%*[ ]%255[^\n]", &m->start, &m->end, m->perms, &m->offset,
                       &m->ino, m->name);
        TEST_CHECK(n >= 5);
        if (m->start <= (unsigned long)address && (unsigned long)address < m->end)
            return 1;
    }
    return 0;
}

FN_TEST(maps_shows_what_was_mapped)
{
    struct mapping m;
    unsigned char *p = TEST_SUCC(mmap(NULL, 16 * TEST_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    unsigned char *mid = p + 4 * TEST_PAGE;
    TEST_SUCC(mprotect(mid, 4 * TEST_PAGE, PROT_READ | PROT_WRITE));
    TEST_CHECK(find_mapping(mid, &m));
    TEST_EQ(m.start, mid);
    TEST_EQ(m.end, mid + 4 * TEST_PAGE);
    TEST_STR(m.perms, "rw-p");
    TEST_STR(m.name, "");
    TEST_CHECK(find_mapping(p, &m));
    TEST_STR(m.perms, "---p");
    TEST_SUCC(mprotect(mid, 4 * TEST_PAGE, PROT_READ | PROT_EXEC));
    TEST_CHECK(find_mapping(mid, &m));
    TEST_STR(m.perms, "r-xp");
    TEST_SUCC(munmap(p, 16 * TEST_PAGE));
    TEST_CHECK(!find_mapping(mid, &m));
}

FN_TEST(maps_names_files_heap_and_stack)
{
    struct mapping m;
    int on_stack;
    TEST_CHECK(find_mapping(&on_stack, &m));
    TEST_STR(m.name, "[stack]");
    TEST_STR(m.perms, "rw-p");
    char *brk = (char *)syscall(SYS_brk, 0);
    TEST_EQ(syscall(SYS_brk, brk + 4 * TEST_PAGE), brk + 4 * TEST_PAGE);
    TEST_CHECK(find_mapping(brk + 2 * TEST_PAGE, &m));
    TEST_STR(m.name, "[heap]");
    TEST_CHECK(find_mapping((void *)find_mapping, &m));
    TEST_STR(m.perms, "r-xp");
    TEST_STR(strrchr(m.name, '/'), strrchr(test_argv[0], '/'));
    struct stat st;
    TEST_SUCC(stat("/proc/self/exe", &st));
    TEST_EQ(m.ino, st.st_ino);
    int fd = TEST_SUCC(open("proc-mapped", O_RDWR | O_CREAT | O_TRUNC, 0600));
    TEST_SUCC(ftruncate(fd, 3 * TEST_PAGE));
    char *file = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 * TEST_PAGE));
    TEST_CHECK(find_mapping(file, &m));
    TEST_STR(m.perms, "rw-s");
    TEST_EQ(m.offset, 2 * TEST_PAGE);
    TEST_STR(strrchr(m.name, '/'), "/proc-mapped");
    TEST_SUCC(unlink("proc-mapped"));
    TEST_CHECK(find_mapping(file, &m));
    TEST_STR(strrchr(m.name, '/'), "/proc-mapped (deleted)");
    TEST_SUCC(munmap(file, TEST_PAGE));
    close(fd);
    TEST_CHECK(find_mapping("", &m));
}

/* The part of smaps that begins with the mapping at p, into proc_text. */
static void read_smaps(unsigned char *p)
{
    char key[32];
    snprintf(key, sizeof key, "%lx-", (unsigned long)p);
    TEST_CHECK(proc_read("/proc/self/smaps") > 0);
    char *at = strstr(proc_text, key);
    TEST_CHECK(at);
    memmove(proc_text, at, strlen(at) + 1);
}

FN_TEST(smaps_counts_pages)
{
    unsigned char *room = test_map(10 * TEST_PAGE), *p = room + TEST_PAGE;
    TEST_SUCC(mprotect(room, TEST_PAGE, PROT_NONE)); /* nothing is merged with the neighbours */
    TEST_SUCC(mprotect(p + 8 * TEST_PAGE, TEST_PAGE, PROT_NONE));
    for (int i = 0; i < 3; i++)
        p[i * TEST_PAGE] = 1;
    read_smaps(p);
    TEST_EQ(proc_number("Rss"), 12);
    TEST_EQ(proc_number("Anonymous"), 12);
    TEST_EQ(proc_number("Private_Dirty"), 12);
    TEST_EQ(proc_number("Shared_Dirty"), 0);
    TEST_CHECK(strstr(proc_field("VmFlags"), "rd wr mr mw me"));
    TEST_CHECK(proc_read("/proc/self/smaps_rollup") > 0);
    TEST_CHECK(strstr(proc_text, "[rollup]\n"));
    TEST_CHECK(proc_number("Rss") >= 12 && proc_number("Pss") > 0 && proc_number("Pss_Anon") >= 12);
    TEST_SUCC(munmap(room, 10 * TEST_PAGE));
}

/* A figure of the mapping that begins at p, in kB. */
static long smaps_of(unsigned char *p, const char *name)
{
    read_smaps(p);
    return proc_number(name);
}

/* In kB, as Linux adds it up: with 12 bits behind the point for each page. */
static long pss_kb(long own, long shared, long mappers)
{
    return (own * (1L << 24) + shared * ((1L << 24) / mappers)) >> 22;
}

FN_TEST(pss_divides_by_the_number_of_mappers)
{
    enum { PAGES = 300, CHILDREN = 4 };
    unsigned char *room = test_map((PAGES + 2) * TEST_PAGE), *p = room + TEST_PAGE;
    TEST_SUCC(mprotect(room, TEST_PAGE, PROT_NONE));
    TEST_SUCC(mprotect(p + PAGES * TEST_PAGE, TEST_PAGE, PROT_NONE));
    TEST_SUCC(madvise(p, PAGES * TEST_PAGE, MADV_NOHUGEPAGE));
    memset(p, 1, PAGES * TEST_PAGE);
    TEST_EQ(smaps_of(p, "Pss"), 4 * PAGES);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = TEST_SUCC(fork());
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        TEST_EQ(smaps_of(p, "Pss"), pss_kb(0, PAGES, i + 2));
        TEST_EQ(smaps_of(p, "Pss_Dirty"), pss_kb(0, PAGES, i + 2));
        TEST_EQ(smaps_of(p, "Shared_Dirty"), 4 * PAGES);
    }
    memset(p, 2, 30 * TEST_PAGE); /* a table of its own, and pages */
    TEST_EQ(smaps_of(p, "Private_Dirty"), 4 * 30);
    TEST_EQ(smaps_of(p, "Pss"), pss_kb(30, PAGES - 30, CHILDREN + 1));
    for (int i = 0; i < CHILDREN; i++) {
        TEST_SUCC(kill(children[i], SIGKILL));
        TEST_EQ(test_wait(children[i]), SIGKILL);
        TEST_EQ(smaps_of(p, "Pss"), pss_kb(30, PAGES - 30, CHILDREN - i));
    }
    TEST_SUCC(munmap(room, (PAGES + 2) * TEST_PAGE));
}

FN_TEST(mem_reads_and_writes_itself)
{
    char text[] = "before", got[8] = "";
    int fd = TEST_SUCC(open("/proc/self/mem", O_RDWR));
    TEST_EQ(pread(fd, got, 6, (off_t)(unsigned long)text), 6);
    TEST_STR(got, "before");
    TEST_EQ(pwrite(fd, "after!", 6, (off_t)(unsigned long)text), 6);
    TEST_STR(text, "after!");
    TEST_ERRNO(pread(fd, got, 1, 0x1000), EIO);
    TEST_ERRNO(pwrite(fd, got, 1, 0x1000), EIO);
    unsigned char *p = test_map(3 * TEST_PAGE);
    memset(p, 'a', 3 * TEST_PAGE);
    TEST_SUCC(mprotect(p + TEST_PAGE, TEST_PAGE, PROT_NONE));
    TEST_EQ(lseek(fd, (off_t)(unsigned long)p, SEEK_SET), (unsigned long)p);
    TEST_EQ(read(fd, proc_text, 3 * TEST_PAGE), 3 * TEST_PAGE); /* protection does not matter */
    TEST_EQ(lseek(fd, 0, SEEK_CUR), p + 3 * TEST_PAGE);
    TEST_EQ(proc_text[TEST_PAGE + 5], 'a');
    TEST_SUCC(mprotect(p, TEST_PAGE, PROT_READ));
    TEST_EQ(pwrite(fd, "x", 1, (off_t)(unsigned long)p), 1);
    TEST_EQ(p[0], 'x');
    TEST_FAULTS(SIGSEGV, SEGV_ACCERR, p, TEST_POKE(p, 1));
    TEST_SUCC(munmap(p + 2 * TEST_PAGE, TEST_PAGE));
    TEST_EQ(pread(fd, proc_text, 2 * TEST_PAGE, (off_t)(unsigned long)(p + TEST_PAGE)), TEST_PAGE);
    TEST_SUCC(munmap(p, 2 * TEST_PAGE));
    close(fd);
}

FN_TEST(writing_text_through_mem_is_private)
{
    /* A read-only private file mapping is copied, the file stays. */
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY));
    char *p = TEST_SUCC(mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    int mem = TEST_SUCC(open("/proc/self/mem", O_RDWR));
    TEST_EQ(pwrite(mem, "gone", 4, (off_t)(unsigned long)p), 4);
    TEST_CHECK(memcmp(p, "gone", 4) == 0);
    char head[4];
    TEST_EQ(pread(fd, head, 4, 0), 4);
    TEST_CHECK(memcmp(head, "\177ELF", 4) == 0);
    close(mem);
    close(fd);
    TEST_SUCC(munmap(p, TEST_PAGE));
}

FN_TEST(mem_of_a_child_and_process_vm)
{
    static char word[16];
    char path[64], got[16] = "";
    int go[2], done[2];
    TEST_SUCC(pipe(go));
    TEST_SUCC(pipe(done));
    strcpy(word, "parent");
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        char c;
        strcpy(word, "child");
        (void)!write(done[1], "x", 1);
        (void)!read(go[0], &c, 1);
        _exit(strcmp(word, "poked!") == 0 ? 0 : 1);
    }
    TEST_EQ(read(done[0], got, 1), 1);
    snprintf(path, sizeof path, "/proc/%d/mem", child);
    int fd = TEST_SUCC(open(path, O_RDWR));
    TEST_EQ(pread(fd, got, 6, (off_t)(unsigned long)word), 6);
    TEST_STR(got, "child");
    struct iovec local[2] = {{got, 3}, {got + 3, 3}}, remote = {word, 6};
    memset(got, 0, sizeof got);
    TEST_EQ(process_vm_readv(child, local, 2, &remote, 1, 0), 6);
    TEST_STR(got, "child");
    TEST_EQ(pwrite(fd, "poked?", 7, (off_t)(unsigned long)word), 7);
    local[0] = (struct iovec){"!", 1};
    remote = (struct iovec){word + 5, 1};
    TEST_EQ(process_vm_writev(child, local, 1, &remote, 1, 0), 1);
    TEST_STR(word, "parent");
    remote.iov_base = (void *)0x1000;
    TEST_ERRNO(process_vm_readv(child, local, 1, &remote, 1, 0), EFAULT);
    TEST_ERRNO(process_vm_readv(child, local, 1, &remote, 1, 1), EINVAL);
    TEST_ERRNO(process_vm_readv(child, local, 2000, &remote, 1, 0), EINVAL);
    TEST_EQ(process_vm_readv(child, local, 0, &remote, 1, 0), 0);
    TEST_EQ(write(go[1], "x", 1), 1);
    TEST_REAP(child);
    TEST_EQ(pread(fd, got, 1, (off_t)(unsigned long)word), 0); /* its memory has gone */
    TEST_ERRNO(process_vm_readv(child, local, 1, &remote, 1, 0), ESRCH);
    close(fd);
}

FN_TEST(pagemap_says_what_is_present)
{
    uint64_t words[4];
    unsigned char *p = test_map(4 * TEST_PAGE);
    p[TEST_PAGE] = 1;
    int fd = TEST_SUCC(open("/proc/self/pagemap", O_RDONLY));
    TEST_EQ(pread(fd, words, 32, (off_t)((unsigned long)p / TEST_PAGE * 8)), 32);
    TEST_CHECK(!(words[0] >> 63) && words[1] >> 63 && !(words[2] >> 63) && !(words[3] >> 63));
    TEST_CHECK(words[1] >> 56 & 1);
    TEST_CHECK(!(words[1] >> 61 & 1));
    TEST_ERRNO(pread(fd, words, 32, 4), EINVAL);
    TEST_ERRNO(pread(fd, words, 31, 0), EINVAL);
    TEST_CHILD({
        TEST_EQ(pread(fd, words, 8, (off_t)((unsigned long)p / TEST_PAGE * 8 + 8)), 8); /* still the parent's */
        TEST_CHECK(words[0] >> 63);
        TEST_CHECK(!(words[0] >> 56 & 1));
    });
    close(fd);
    TEST_SUCC(munmap(p, 4 * TEST_PAGE));
}

FN_TEST(cmdline_follows_the_memory)
{
    size_t length = strlen(test_argv[0]);
    char saved[512];
    TEST_CHECK(length < sizeof saved && length > 3);
    memcpy(saved, test_argv[0], length);
    memset(test_argv[0], 'z', 3);
    TEST_CHECK(proc_read("/proc/self/cmdline") > 3);
    TEST_CHECK(memcmp(proc_text, "zzz", 3) == 0);
    memcpy(test_argv[0], saved, length);
}
