/* On-demand fork, hazards 36-39, 41, 42, 45, 54, 56-58: the kernel's own writes, and other readers of shared tables. */
#include "odf.h"
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>

#define FUTEX_WAIT 0 /* linux/futex.h, which musl-gcc does not see */
#define FUTEX_WAKE 1
#define FUTEX_PRIVATE_FLAG 128

/* A buffer in page i of a shared table, for the child's kernel calls. */
#define IN(i) ((void *)&AT(p, i))

FN_TEST(h36_read_family)
{
    unsigned char *p = table_of_pages(1);
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY)), pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_CHILD({
        TEST_RES(read(fd, IN(0), 4), _ret == 4);
        TEST_EQ(memcmp(IN(0), "\177ELF", 4), 0);
    });
    TEST_CHILD({ TEST_RES(pread(fd, IN(1), 5000, 0), _ret == 5000); TEST_EQ(AT(p, 1), 0x7f); });
    TEST_CHILD({
        struct iovec v[2] = {{IN(2), 1}, {IN(3), 3}};
        TEST_RES(preadv(fd, v, 2, 0), _ret == 4);
        TEST_EQ(AT(p, 3), 'E');
    });
    TEST_CHILD({
        TEST_SUCC(write(pipes[1], "hello", 5));
        TEST_RES(read(pipes[0], IN(4), 100), _ret == 5);
        TEST_EQ(memcmp(IN(4), "hello", 5), 0);
    });
    TEST_CHILD({ TEST_RES(syscall(SYS_getrandom, IN(5), 2 * TEST_PAGE, 0), _ret > 0); });
    TEST_CHECK(marked(p, 0, 512));
    close(fd), close(pipes[0]), close(pipes[1]);
    drop(p, 1);
}

FN_TEST(h36_structures)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({ TEST_SUCC(stat("/", IN(0))); TEST_CHECK(S_ISDIR(((struct stat *)IN(0))->st_mode)); });
    TEST_CHILD({
        int *status = IN(1);
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0)
            _exit(7);
        TEST_RES(waitpid(pid, status, 0), _ret == pid);
        TEST_EQ(*status, 0x700);
    });
    TEST_CHILD({ TEST_SUCC(syscall(SYS_clock_gettime, CLOCK_REALTIME, IN(2))); TEST_CHECK(*(long *)IN(2) > 1000000000); });
    TEST_CHILD({ TEST_SUCC(syscall(SYS_uname, IN(3))); TEST_STR(IN(3), "Linux"); });
    TEST_CHILD({ TEST_SUCC(syscall(SYS_getcwd, IN(4), 4096)); TEST_EQ(AT(p, 4), '/'); });
    TEST_CHILD({ TEST_SUCC(pipe(IN(5))); TEST_CHECK(*(int *)IN(5) > 2); });
    TEST_CHILD({ TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, IN(6))); });
    TEST_CHILD({ TEST_SUCC(readlink("/proc/self/exe", IN(7), 100)); TEST_EQ(AT(p, 7), '/'); });
    TEST_CHILD({ TEST_SUCC(syscall(SYS_rt_sigaction, SIGUSR1, NULL, IN(8), 8)); TEST_EQ(AT(p, 8), 0); });
    TEST_CHILD({ TEST_SUCC(syscall(SYS_prlimit64, 0, 7, NULL, IN(9))); });
    TEST_CHILD({
        int fd = TEST_SUCC(open("/", O_RDONLY | O_DIRECTORY));
        TEST_RES(syscall(SYS_getdents64, fd, IN(10), 4096), _ret > 0);
    });
    TEST_CHILD({ TEST_SUCC(getitimer(ITIMER_REAL, IN(11))); TEST_EQ(AT(p, 11), 0); });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

static int child_tid_body(void *at) { return *(volatile int *)at != (int)syscall(SYS_gettid); }

FN_TEST(h36_child_settid_and_cleartid)
{
    static char stack[65536] __attribute__((aligned(16)));
    unsigned char *p = table_of_pages(1);
    int *tid = IN(20);
    int before = *tid;
    /* The child's copy gets its id; the parent's does not. */
    pid_t pid = TEST_SUCC(clone(child_tid_body, stack + sizeof stack, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                                tid, NULL, NULL, tid));
    TEST_REAP(pid);
    TEST_EQ(*tid, before);
    /* PARENT_SETTID lands in the parent's copy. */
    pid = syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, IN(21), 0, 0);
    if (pid == 0)
        _exit(0);
    TEST_REAP(pid);
    TEST_EQ(*(int *)IN(21), pid);
    TEST_CHECK(marked(p, 0, 21));
    TEST_CHECK(marked(p, 22, 512));
    drop(p, 1);
}

FN_TEST(h36_robust_list)
{
    struct list {
        void *next;
        long offset;
        void *pending;
    };
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        struct list *head = IN(30);
        long *node = IN(31);
        int *lock = (int *)(node + 1);
        head->next = node;
        head->offset = 8;
        head->pending = NULL;
        node[0] = (long)head;
        *lock = (int)syscall(SYS_gettid); /* held: exit sets FUTEX_OWNER_DIED in C's copy */
        TEST_SUCC(syscall(SYS_set_robust_list, head, sizeof *head));
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h36_efault_only_where_the_mapping_forbids)
{
    unsigned char *p = table_of_pages(1);
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_SUCC(mprotect(&AT(p, 40), TEST_PAGE, PROT_READ));
    TEST_CHILD({
        TEST_SUCC(write(pipes[1], "0123456789", 10));
        TEST_ERRNO(read(pipes[0], IN(40), 4), EFAULT);
        TEST_RES(read(pipes[0], IN(41), 4), _ret == 4);
        TEST_ERRNO(syscall(SYS_uname, IN(40)), EFAULT);
        TEST_SUCC(syscall(SYS_uname, IN(42)));
    });
    TEST_CHECK(marked(p, 0, 512));
    close(pipes[0]), close(pipes[1]);
    drop(p, 1);
}

static volatile unsigned char *handler_table;
static volatile long handler_address, handler_code;

static void on_signal(int signo)
{
    (void)signo;
    handler_table[50 * TEST_PAGE] = 123;
}

static void in_handler_fault(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    handler_address = (long)info->si_addr;
    handler_code = info->si_code;
    handler_table[51 * TEST_PAGE] = 124; /* a table-level fault inside the handler */
    siglongjmp(test_fault_out, 1);
}

FN_TEST(h54_signal_frame_in_a_shared_table)
{
    unsigned char *p = table_of_pages(1);
    handler_table = p;
    TEST_CHILD({
        stack_t stack = {.ss_sp = p + 100 * TEST_PAGE, .ss_size = 16 * TEST_PAGE};
        TEST_SUCC(sigaltstack(&stack, NULL));
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
        TEST_SUCC(sigaction(SIGUSR1, &action, NULL));
        TEST_SUCC(raise(SIGUSR1)); /* the frame is the first write under the table */
        TEST_EQ(AT(p, 50), 123);
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_CHILD({
        stack_t stack = {.ss_sp = p + 200 * TEST_PAGE, .ss_size = 16 * TEST_PAGE};
        TEST_SUCC(sigaltstack(&stack, NULL));
        struct sigaction action = {.sa_flags = SA_ONSTACK | SA_SIGINFO};
        action.sa_sigaction = in_handler_fault;
        TEST_SUCC(sigaction(SIGSEGV, &action, NULL));
        TEST_SUCC(mprotect(&AT(p, 60), TEST_PAGE, PROT_READ));
        if (!sigsetjmp(test_fault_out, 1))
            AT(p, 60) = 1;
        TEST_EQ(handler_address, (long)&AT(p, 60));
        TEST_EQ(handler_code, SEGV_ACCERR);
        TEST_EQ(AT(p, 51), 124);
        TEST_EQ(AT(p, 60), 61);
    });
    TEST_CHECK(marked(p, 0, 512));
    drop(p, 1);
}

FN_TEST(h54_no_table_fault_ever_shows)
{
    unsigned char *p = table_of_pages(2);
    TEST_CHILD({
        TEST_NO_FAULT(for (int i = 0; i < 1024; i++) AT(p, i) += 1);
        TEST_CHILD({ TEST_NO_FAULT(for (int i = 1023; i >= 0; i--) AT(p, i) += 1); });
        TEST_EQ(AT(p, 5), 7);
    });
    TEST_NO_FAULT(for (int i = 0; i < 1024; i++) AT(p, i) += 3);
    drop(p, 2);
}

FN_TEST(h37_write_from_shared_and_private_tables)
{
    unsigned char *p = table_of_pages(2);
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    TEST_CHILD({
        AT(p, 511) = 200; /* the first table is private, the second shared */
        TEST_RES(write(pipes[1], &AT(p, 511), TEST_PAGE + 1), _ret == (long)TEST_PAGE + 1);
        static unsigned char got[TEST_PAGE + 1];
        for (size_t n = 0; n < sizeof got;)
            n += TEST_SUCC(read(pipes[0], got + n, sizeof got - n));
        TEST_EQ(got[0], 200);
        TEST_EQ(got[TEST_PAGE], 512 % 251 + 1);
    });
    TEST_CHECK(marked(p, 0, 1024));
    close(pipes[0]), close(pipes[1]);
    drop(p, 2);
}

FN_TEST(h38_proc_mem_write)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_EQ(AT(p, 70), 99);
        TEST_CHECK(marked(p, 71, 512));
        _exit(0);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    unsigned char v = 99;
    if (fd >= 0) {
        TEST_RES(pread(fd, &v, 1, (long)IN(71)), _ret == 1 && v == 72);
        v = 99;
        TEST_RES(pwrite(fd, &v, 1, (long)IN(70)), _ret == 1);
    }
    TEST_CHECK(fd >= 0);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 512));
    close(fd);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h38_process_vm_writev)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        child_hears(&t);
        TEST_EQ(AT(p, 80), 88);
        _exit(0);
    }
    unsigned char v = 88, w = 0;
    struct iovec local = {&v, 1}, remote = {IN(80), 1}, to = {&w, 1}, from = {IN(81), 1};
    TEST_RES(process_vm_writev(pid, &local, 1, &remote, 1, 0), _ret == 1);
    TEST_RES(process_vm_readv(pid, &to, 1, &from, 1, 0), _ret == 1);
    TEST_EQ(w, 82);
    parent_says(&t);
    TEST_REAP(pid);
    TEST_CHECK(marked(p, 0, 512));
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h41_vmsplice_keeps_the_old_bytes)
{
    unsigned char *p = table_of_pages(1);
    struct turns t = turns_new();
    int pipes[2];
    TEST_SUCC(pipe(pipes));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        struct iovec v = {IN(90), TEST_PAGE};
        TEST_RES(vmsplice(pipes[1], &v, 1, 0), _ret == (long)TEST_PAGE);
        TEST_SUCC(munmap(IN(90), TEST_PAGE));
        child_says(&t);
        child_hears(&t);
        unsigned char got[TEST_PAGE];
        TEST_RES(read(pipes[0], got, sizeof got), _ret == (long)TEST_PAGE);
        TEST_EQ(got[0], 91);
        _exit(0);
    }
    parent_hears(&t);
    AT(p, 90) = 1;
    parent_says(&t);
    TEST_REAP(pid);
    close(pipes[0]), close(pipes[1]);
    turns_free(&t);
    drop(p, 1);
}

static unsigned *futex_word;
static volatile int futex_tid;

static void *futex_waiter(void *value)
{
    futex_tid = syscall(SYS_gettid);
    return (void *)syscall(SYS_futex, futex_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, (unsigned)(long)value, NULL, NULL, 0);
}

static void until_it_sleeps(void)
{
    char path[64], text[256] = "";
    while (!futex_tid)
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", futex_tid);
    while (!strstr(text, ") S ")) {
        sched_yield();
        int fd = TEST_SUCC(open(path, O_RDONLY));
        TEST_SUCC(read(fd, text, sizeof text - 1));
        close(fd);
    }
}

FN_TEST(h42_private_futex)
{
    unsigned char *p = table_of_pages(1);
    pthread_t thread;
    void *woken;
    futex_word = IN(100);
    futex_tid = 0;
    long value = *futex_word;
    TEST_EQ(pthread_create(&thread, NULL, futex_waiter, (void *)value), 0);
    until_it_sleeps();
    TEST_CHILD({ /* the same address is another futex, through the shared table and through a private one */
        TEST_EQ(syscall(SYS_futex, futex_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0), 0);
        *futex_word = 1;
        TEST_EQ(syscall(SYS_futex, futex_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0), 0);
    });
    TEST_EQ(syscall(SYS_futex, futex_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0), 1);
    TEST_EQ(pthread_join(thread, &woken), 0);
    TEST_EQ((long)woken, 0);
    struct timespec soon = {0, 1000000};
    TEST_ERRNO(syscall(SYS_futex, futex_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, &soon, NULL, 0), ETIMEDOUT);
    TEST_ERRNO(syscall(SYS_futex, futex_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, &soon, NULL, 0), EAGAIN);
    drop(p, 1);
}

static long rss_kb(const char *field)
{
    char line[256];
    long kb = -1;
    size_t n = strlen(field);
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        if (strncmp(line, field, n) == 0 && line[n] == ':')
            kb = atol(line + n + 1);
    fclose(f);
    return kb;
}

FN_TEST(h45_rss_and_mincore)
{
    unsigned char vec[512], *p = table_of_pages(1);
    long before = rss_kb("RssAnon");
    TEST_CHILD({
        /* All 512 pages count for the child too; what it wrote itself since may add a few. */
        TEST_CHECK(labs(rss_kb("RssAnon") - before) < 200);
        TEST_SUCC(mincore(p, TEST_TABLE, vec));
        for (int i = 0; i < 512; i++)
            TEST_EQ(vec[i] & 1, 1);
        TEST_SUCC(munmap(p, 256 * TEST_PAGE));
        TEST_CHECK(labs(rss_kb("RssAnon") - (before - 1024)) < 200);
        TEST_SUCC(munmap(p, TEST_TABLE));
        TEST_CHECK(labs(rss_kb("RssAnon") - (before - 2048)) < 200);
        TEST_CHECK(rss_kb("RssAnon") >= 0);
    });
    TEST_CHECK(labs(rss_kb("RssAnon") - before) < 200);
    drop(p, 1);
    TEST_CHECK(labs(rss_kb("RssAnon") - (before - 2048)) < 200);
}

/* Store `new` at `at` if `old` is there; what was there. */
static inline unsigned long compare_exchange(void *at, unsigned long old, unsigned long new, int lock)
{
    if (lock)
        __asm__ volatile("lock cmpxchgq %2, (%1)" : "+a"(old) : "r"(at), "r"(new) : "memory");
    else
        __asm__ volatile("cmpxchgq %2, (%1)" : "+a"(old) : "r"(at), "r"(new) : "memory");
    return old;
}

FN_TEST(h56_read_modify_write_exactly_once)
{
    unsigned char *p = table_of_pages(2);
    TEST_CHILD({
        unsigned *counter = (unsigned *)(p + 10);
        *counter = 0;
        TEST_CHILD({
            for (int i = 0; i < 100; i++)
                __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
            TEST_EQ(*counter, 100);
        });
        TEST_EQ(*counter, 0);
    });
    TEST_CHILD({ TEST_EQ(compare_exchange(IN(3), 4, 42, 1), 4); TEST_EQ(*(unsigned long *)IN(3), 42); });
    TEST_CHILD({ TEST_EQ(compare_exchange(IN(3), 5, 42, 1), 4); TEST_EQ(*(unsigned long *)IN(3), 4); });
    TEST_CHILD({ /* rep movsb over the border of two shared tables */
        unsigned char *to = &AT(p, 510);
        const unsigned char *from = &AT(p, 0);
        unsigned long n = 4 * TEST_PAGE;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
        TEST_EQ(n, 0);
        for (int i = 0; i < 4; i++)
            TEST_EQ(AT(p, 510 + i), i + 1);
        TEST_CHECK(marked(p, 514, 1024));
    });
    TEST_CHILD({ /* 16 bytes across it */
        typedef long long v2 __attribute__((vector_size(16), aligned(1)));
        volatile v2 *at = (v2 *)(&AT(p, 512) - 8);
        *at = (v2){0x0101010101010101, 0x0202020202020202};
        TEST_EQ((&AT(p, 512))[-1], 1);
        TEST_EQ(AT(p, 512), 2);
        TEST_EQ((&AT(p, 512))[8], 0);
    });
    unsigned long *across = (unsigned long *)(&AT(p, 512) - 4), old = *across;
    TEST_CHILD({ /* a read-modify-write that straddles */
        __asm__ volatile("addq %1, (%0)" : : "r"(across), "r"(0x100000001UL) : "memory", "cc");
        TEST_CHECK(*across == old + 0x100000001);
    });
    TEST_CHILD({ TEST_EQ(compare_exchange(across, old, ~old, 0), old); TEST_EQ(*across, ~old); });
    TEST_CHILD({ TEST_EQ(compare_exchange(across, ~old, 0, 0), old); TEST_EQ(*across, old); });
    TEST_CHECK(marked(p, 0, 1024));
    drop(p, 2);
}

FN_TEST(h57_code_in_a_shared_table)
{
    unsigned char *p = test_map_aligned(TEST_TABLE, TEST_TABLE);
    static const unsigned char ret7[] = {0xb8, 7, 0, 0, 0, 0xc3};
    TEST_SUCC(mprotect(p, TEST_TABLE, RW | PROT_EXEC));
    for (int i = 0; i < 20; i++)
        memcpy(IN(i), ret7, sizeof ret7);
    int (*f)(void) = (int (*)(void))IN(3);
    TEST_EQ(f(), 7);
    struct turns t = turns_new();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_EQ(f(), 7);
        (&AT(p, 3))[1] = 8;
        TEST_EQ(f(), 8);
        child_says(&t);
        child_hears(&t);
        TEST_EQ(f(), 8);
        _exit(0);
    }
    parent_hears(&t);
    TEST_EQ(f(), 7);
    (&AT(p, 3))[1] = 9;
    TEST_EQ(f(), 9);
    parent_says(&t);
    TEST_REAP(pid);
    turns_free(&t);
    drop(p, 1);
}

FN_TEST(h58_mlock_and_populate)
{
    unsigned char *p = table_of_pages(1);
    TEST_CHILD({
        TEST_SUCC(mlock(IN(10), 4 * TEST_PAGE));
        TEST_CHECK(marked(p, 0, 512));
        AT(p, 11) = 1;
        TEST_SUCC(munlock(IN(10), 4 * TEST_PAGE));
    });
    TEST_CHECK(marked(p, 0, 512));
    TEST_SUCC(munmap(IN(100), 100 * TEST_PAGE));
    TEST_CHILD({
        unsigned char vec[100];
        TEST_SUCC(mmap(IN(100), 100 * TEST_PAGE, RW, ANON | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0));
        TEST_SUCC(mincore(IN(100), 100 * TEST_PAGE, vec));
        TEST_EQ(vec[0] & vec[99] & 1, 1);
        TEST_EQ(AT(p, 150), 0);
        TEST_CHECK(marked(p, 200, 512));
    });
    TEST_FAULTS(SIGSEGV, SEGV_MAPERR, IN(150), TEST_PEEK(IN(150)));
    TEST_CHECK(marked(p, 200, 512));
    drop(p, 1);
}

FN_TEST(h62_fork_and_exec_loop)
{
    for (int i = 0; i < 10; i++) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        TEST_REAP(pid);
    }
}
