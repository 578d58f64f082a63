/* Scenes of fork on demand with checkpoints: `odf_counts SCENE`. A checkpoint is the (unknown) system call 9999 with a
 * label and an address; tests/test_odf_tables.py listens and looks at the page tables. Natively they do nothing.
 */
#define TEST_NO_MAIN
#include "odf.h"
#include <pthread.h>
#include <sched.h>
#include <sys/uio.h>

/* Touches no memory at all, so that what lies between two checkpoints is only the scene's own work. */
static inline __attribute__((always_inline)) void see(long label, const void *address)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(9999L), "D"(label), "S"(address) : "rcx", "r11", "memory");
}

static unsigned char *p;
static struct turns t;

/* Memory in a GiB where nothing else is: at level 2 only a scene's own writes are below its PMD table. */
static unsigned char *room(int tables)
{
    unsigned char *at = (unsigned char *)(64UL << 30);
    return mmap(at, tables * TEST_TABLE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
}

static unsigned char *marked_room(int tables)
{
    unsigned char *at = room(tables);
    mark(at, tables * 512);
    return at;
}

static void child_write(void)
{
    p = marked_room(1);
    see(1, p);
    if (fork() == 0) {
        see(2, p);
        AT(p, 7) = 1;
        see(3, p);
        AT(p, 8) = 1;
        see(4, p);
        _exit(0);
    }
    wait(NULL);
    see(5, p);
    AT(p, 7) = 2;
    see(6, p);
    AT(p, 9) = 2;
    see(7, p);
}

/* What the first write of a child does, one step at a time: the PMD table, the PTE table, the page. */
static void step_by_step(void)
{
    p = marked_room(2);
    if (fork() == 0) {
        see(1, p);
        munmap(&AT(p, 512), TEST_TABLE); /* takes one entry out of the PMD table */
        see(2, p);
        mprotect(&AT(p, 500), TEST_PAGE, PROT_READ); /* changes one entry of the PTE table */
        see(3, p);
        AT(p, 7) = 1;
        see(4, p);
        _exit(0);
    }
    wait(NULL);
    see(5, p);
}

static void child_exits(void)
{
    p = marked_room(1);
    if (fork() == 0)
        _exit(0);
    wait(NULL);
    see(1, p);
    for (int i = 0; i < 512; i++)
        AT(p, i) = 1;
    see(2, p);
}

static void generations(void)
{
    p = marked_room(1);
    t = turns_new();
    if (fork() == 0) {
        if (fork() == 0) {
            see(1, p);
            AT(p, 1) = 1;
            see(2, p);
            _exit(0);
        }
        wait(NULL);
        see(3, p);
        child_says(&t);
        child_hears(&t);
        see(5, p);
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 1) = 2;
    see(4, p);
    parent_says(&t);
    wait(NULL);
    see(6, p);
}

static void siblings(void)
{
    struct turns u = turns_new();
    p = marked_room(1);
    t = turns_new();
    if (fork() == 0) {
        child_hears(&t);
        AT(p, 1) = 1;
        child_says(&t);
        child_hears(&t);
        _exit(0);
    }
    see(1, p);
    if (fork() == 0) {
        child_hears(&u);
        _exit(0);
    }
    see(2, p);
    parent_says(&t);
    parent_hears(&t);
    see(3, p);
    if (fork() == 0) {
        child_hears(&u);
        _exit(0);
    }
    see(4, p);
    parent_says(&t), parent_says(&u), parent_says(&u);
    while (wait(NULL) > 0)
        ;
    see(5, p);
}

static void unmaps(void)
{
    p = marked_room(3);
    if (fork() == 0) {
        see(1, p);
        munmap(p, TEST_TABLE);
        see(2, p);
        munmap(&AT(p, 700), TEST_PAGE);
        see(3, &AT(p, 512));
        munmap(p, 3 * TEST_TABLE);
        see(4, p);
        _exit(0);
    }
    wait(NULL);
    see(5, p);
}

/* The range covers the whole GiB: nothing of it is looked at, at any level. */
static void unmaps_gigabyte(void)
{
    p = marked_room(3);
    if (fork() == 0) {
        see(1, p);
        munmap(p, 1UL << 30);
        see(2, p);
        _exit(0);
    }
    wait(NULL);
    see(3, p);
}

static void two_tables(void)
{
    p = marked_room(2);
    if (fork() == 0) {
        see(1, p);
        AT(p, 3) = 1;
        see(2, p);
        see(3, &AT(p, 512));
        _exit(0);
    }
    wait(NULL);
}

static void many_mappings(void)
{
    p = marked_room(1);
    for (int i = 0; i < 10; i++)
        mprotect(&AT(p, i * 50), 25 * TEST_PAGE, PROT_READ);
    see(1, p);
    if (fork() == 0) {
        see(2, p);
        mprotect(&AT(p, 500), TEST_PAGE, PROT_NONE);
        see(3, p);
        munmap(&AT(p, 400), 3 * TEST_PAGE);
        see(4, p);
        _exit(0);
    }
    see(5, p);
    wait(NULL);
    see(6, p);
}

/* Mappings are split and merged in ways that change no entry: the table stays shared. */
static void splits_and_merges(void)
{
    p = marked_room(1);
    if (fork() == 0) {
        see(1, p);
        for (int i = 0; i < 10; i++)
            madvise(&AT(p, i * 50), 25 * TEST_PAGE, MADV_DONTDUMP);
        see(2, p);
        madvise(p, TEST_TABLE, MADV_DODUMP);
        see(3, p);
        for (int i = 0; i < 10; i++)
            madvise(&AT(p, i * 50), 25 * TEST_PAGE, i % 2 ? MADV_DONTFORK : MADV_WIPEONFORK);
        see(4, p);
        madvise(p, TEST_TABLE, MADV_DOFORK);
        madvise(p, TEST_TABLE, MADV_KEEPONFORK);
        see(5, p);
        _exit(0);
    }
    wait(NULL);
    see(6, p);
}

/* Populating for reading finds all pages there; for writing it makes the table private, as mlock does. */
static void populated(void)
{
    p = marked_room(1);
    if (fork() == 0) {
        see(1, p);
        madvise(p, TEST_TABLE, MADV_POPULATE_READ);
        see(2, p);
        madvise(&AT(p, 7), TEST_PAGE, MADV_POPULATE_WRITE);
        see(3, p);
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        see(4, p);
        mlock(&AT(p, 7), 2 * TEST_PAGE);
        see(5, p);
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        mprotect(&AT(p, 500), TEST_PAGE, PROT_READ);
        munmap(&AT(p, 100), TEST_PAGE);
        if (fork() == 0) {
            see(6, p);
            mlock(&AT(p, 500), TEST_PAGE); /* not writable: only read */
            see(7, p);
            mmap(&AT(p, 100), TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
            see(8, p);
            _exit(0);
        }
        wait(NULL);
        _exit(0);
    }
    wait(NULL);
}

static volatile int turn;

static void *writes_in_turn(void *which)
{
    int me = which != NULL;
    for (int k = 0; k < 4; k++) {
        while (turn != 2 * k + me)
            sched_yield();
        if (k) /* the first round is for what the threads themselves use */
            AT(p, 10 * k + me) = 1;
        see(2 * k + me + 1, p);
        turn++;
    }
    return NULL;
}

static void threads(void)
{
    pthread_t other;
    p = marked_room(1);
    t = turns_new();
    if (fork() == 0) {
        child_hears(&t);
        see(9, p);
        _exit(!marked(p, 0, 512));
    }
    pthread_create(&other, NULL, writes_in_turn, p);
    writes_in_turn(NULL);
    pthread_join(other, NULL);
    parent_says(&t);
    int status;
    wait(&status);
    for (int k = 1; k < 4; k++)
        if (status || AT(p, 10 * k) != 1 || AT(p, 10 * k + 1) != 1)
            _exit(3);
}

/* A process of 7 MiB forks, and the child execs; once before, for the code and the stack. */
static void fork_and_exec(void)
{
    p = room(4);
    mark(p, 7 << 8);
    for (int i = 0; i < 4; i++) {
        see(i + 1, p);
        if (fork() == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        wait(NULL);
    }
}

static void reads(void)
{
    int fds[2];
    unsigned char sum = 0;
    p = marked_room(2);
    pipe(fds);
    if (fork() == 0) {
        see(1, p);
        for (int i = 0; i < 1024; i++)
            sum += AT(p, i);
        see(2, p);
        struct iovec v = {&AT(p, 511), 2 * TEST_PAGE};
        syscall(SYS_writev, fds[1], &v, 1);
        see(3, p);
        see(4, &AT(p, 512));
        _exit(sum == 0);
    }
    wait(NULL);
}

static void exec_again(void)
{
    p = marked_room(1);
    if (fork() == 0) {
        see(1, p);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    wait(NULL);
    see(2, p);
    AT(p, 1) = 1;
    see(3, p);
}

static void vforked(void)
{
    p = marked_room(1);
    see(1, p);
    if (vfork() == 0) {
        see(2, p);
        AT(p, 1) = 1;
        see(3, p);
        _exit(0);
    }
    see(4, p);
    wait(NULL);
}

static void forks_of_twenty_tables(void)
{
    p = marked_room(20);
    see(1, p);
    if (fork() == 0)
        _exit(0);
    see(2, p);
    wait(NULL);
}

static void shared_file(void)
{
    p = room(1);
    mmap(p, TEST_TABLE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    mark(p, 512);
    if (fork() == 0) {
        see(1, p);
        AT(p, 3) = 1;
        see(2, p);
        _exit(0);
    }
    wait(NULL);
    see(3, p);
}

static void toggled(void)
{
    p = marked_room(1);
    t = turns_new();
    if (fork() == 0) {
        child_hears(&t);
        see(4, p);
        _exit(0);
    }
    see(1, p);
    test_set_odf(0);
    if (fork() == 0) { /* classic, of a process that shares tables */
        see(2, p);
        _exit(0);
    }
    wait(NULL);
    see(3, p);
    parent_says(&t);
    wait(NULL);
}

static void by_number(void)
{
    p = marked_room(1);
    test_set_odf(0);
    if (syscall(600) == 0) {
        see(1, p);
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        see(2, p);
        _exit(0);
    }
    wait(NULL);
}

static unsigned char page[TEST_PAGE];
static uint64_t words[512];

/* Read the marked memory of another process in every way there is; each way is one step. */
static int look(pid_t pid, int step)
{
    char path[64], text[4096];
    struct iovec local = {page, TEST_PAGE}, remote = {&AT(p, 9), TEST_PAGE};
    if (step == 0)
        return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (long)TEST_PAGE && page[0] == 10;
    if (step == 1) {
        snprintf(path, sizeof path, "/proc/%d/mem", pid);
        int fd = open(path, O_RDONLY);
        int ok = pread(fd, page, TEST_PAGE, (long)&AT(p, 20)) == (long)TEST_PAGE && page[0] == 21;
        close(fd);
        return ok;
    }
    static const char *const files[] = {"smaps", "smaps_rollup", "status", "maps"};
    int ok = 1;
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        int fd = open(path, O_RDONLY);
        ok &= read(fd, text, sizeof text) > 0;
        close(fd);
    }
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int fd = open(path, O_RDONLY);
    ok &= pread(fd, words, sizeof words, (uintptr_t)p / TEST_PAGE * 8) == (long)sizeof words;
    close(fd);
    for (int i = 0; i < 512; i++) /* present, neither swapped nor of a file; mapped by others, but what Linux pinned */
        ok &= words[i] >> 61 == 4 && (i == 9 || !(words[i] >> 56 & 1));
    return ok;
}

/* Another process looks into C, then writes into it; P shares its table with C. */
static void outsider(void)
{
    char path[64];
    p = marked_room(1);
    t = turns_new();
    pid_t pid = fork();
    if (pid == 0) {
        child_hears(&t);
        _exit(AT(p, 9) == 77 && AT(p, 8) == 66 && marked(p, 10, 512) ? 0 : 1);
    }
    int ok = 1;
    for (int step = 0; step < 3; step++) /* what this needs itself is there, and P's own */
        ok &= look(getpid(), step);
    for (int step = 0; step < 3; step++) {
        see(step + 1, p);
        ok &= look(pid, step);
    }
    see(4, p);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    struct iovec local = {page, 1}, remote = {&AT(p, 9), 1};
    page[0] = 77;
    ok &= process_vm_writev(pid, &local, 1, &remote, 1, 0) == 1; /* C's table becomes its own */
    see(5, p);
    page[0] = 66;
    ok &= pwrite(fd, page, 1, (long)&AT(p, 8)) == 1;
    see(6, p);
    parent_says(&t);
    int status;
    wait(&status);
    if (!ok || status || !marked(p, 0, 512))
        _exit(3);
}

static void leaf(void)
{
    p = room(1);
    madvise(p, TEST_TABLE, MADV_HUGEPAGE);
    mark(p, 512);
    if (fork() == 0) {
        see(1, p);
        AT(p, 1) = 1;
        see(2, p);
        _exit(0);
    }
    wait(NULL);
    see(3, p);
}

static void swapped(void)
{
    p = marked_room(1);
    madvise(p, TEST_TABLE, MADV_PAGEOUT);
    see(1, p);
    if (fork() == 0) {
        see(2, p);
        AT(p, 1) = 1;
        see(3, p);
        _exit(0);
    }
    wait(NULL);
    see(4, p);
}

/* What loads and stores do to the Accessed and Dirty bits of 512 pages that have neither: MADV_FREE takes Dirty away,
 * who listens at checkpoint 1 takes Accessed away. */
static void bits(void)
{
    int fds[2];
    unsigned char sum = 0;
    p = marked_room(1);
    t = turns_new();
    pipe(fds);
    madvise(p, TEST_TABLE, MADV_FREE);
    see(1, p);
    if (fork() == 0) {
        see(2, p);
        sum += AT(p, 3);
        see(3, p);
        write(fds[1], &AT(p, 4), 1); /* the kernel reads for us */
        see(4, p);
        AT(p, 7) = 1;
        see(5, p);
        read(fds[0], &AT(p, 8), 1); /* the kernel writes for us */
        see(6, p);
        child_says(&t);
        child_hears(&t);
        _exit(sum == 0);
    }
    parent_hears(&t);
    sum += AT(p, 20);
    see(7, p);
    AT(p, 21) = 1; /* alone on the old table by now */
    see(8, p);
    parent_says(&t);
    wait(NULL);
    madvise(p, TEST_TABLE, MADV_FREE);
    if (fork() == 0) {
        child_hears(&t);
        sum += AT(p, 40);
        see(10, p);
        _exit(sum == 0);
    }
    AT(p, 30) = 1; /* the writer is the parent this time */
    see(9, p);
    parent_says(&t);
    wait(NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenes[] = {
        {"child_write", child_write}, {"step_by_step", step_by_step}, {"child_exits", child_exits}, {"generations", generations},
        {"siblings", siblings}, {"unmaps", unmaps}, {"two_tables", two_tables}, {"many_mappings", many_mappings},
        {"reads", reads}, {"exec_again", exec_again}, {"vforked", vforked},
        {"forks_of_twenty_tables", forks_of_twenty_tables}, {"shared_file", shared_file}, {"toggled", toggled},
        {"by_number", by_number}, {"leaf", leaf}, {"outsider", outsider}, {"swapped", swapped},
        {"bits", bits}, {"unmaps_gigabyte", unmaps_gigabyte}, {"splits_and_merges", splits_and_merges},
        {"populated", populated}, {"threads", threads}, {"fork_and_exec", fork_and_exec},
    };
    test_pid = getpid();
    for (unsigned i = 0; i < sizeof scenes / sizeof *scenes; i++)
        if (argc > 1 && strcmp(argv[1], scenes[i].name) == 0) {
            scenes[i].run();
            return 0;
        }
    return 2;
}
