/* fork, vfork, clone, clone3, odfork: what a child shares, what it copies, and which arguments are refused. */
#include "test.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

/* struct clone_args of <linux/sched.h>, which musl-gcc does not find. */
struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
enum { VER0 = 64, VER2 = 88 };
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

static int variable = 1;

FN_TEST(fork_copies)
{
    int p[2];
    char c;
    pid_t parent = getpid();
    TEST_SUCC(pipe(p));
    variable = 7;
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_EQ(getppid(), parent);
        TEST_CHECK(getpid() != parent);
        TEST_EQ(getpgrp(), getpgid(parent));
        TEST_EQ(syscall(SYS_gettid), getpid());
        TEST_EQ(variable, 7);
        variable = 8;
        TEST_SUCC(chdir("/"));
        umask(0123);
        TEST_SUCC(close(p[0]));
        TEST_SUCC(write(p[1], "x", 1));
        _exit(0);
    }
    TEST_CHECK(pid > 1);
    TEST_REAP(pid);
    TEST_EQ(variable, 7);
    TEST_EQ(read(p[0], &c, 1), 1);
    mode_t mask = umask(022);
    TEST_CHECK(mask != 0123);
    umask(mask);
    close(p[0]), close(p[1]);
}

FN_TEST(file_position_is_shared)
{
    char name[] = "/tmp/process_fork_XXXXXX";
    int fd = TEST_SUCC(mkstemp(name));
    TEST_SUCC(unlink(name));
    TEST_CHILD({ TEST_EQ(write(fd, "abc", 3), 3); });
    TEST_EQ(lseek(fd, 0, SEEK_CUR), 3);
    close(fd);
}

FN_TEST(signals_of_the_child)
{
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    TEST_SUCC(sigprocmask(SIG_BLOCK, &set, &old));
    TEST_SUCC(raise(SIGUSR1));
    TEST_CHILD({
        sigset_t mask;
        TEST_SUCC(sigpending(&pending));
        TEST_EQ(sigismember(&pending, SIGUSR1), 0);
        TEST_SUCC(sigprocmask(SIG_BLOCK, NULL, &mask));
        TEST_EQ(sigismember(&mask, SIGUSR1), 1);
        TEST_EQ(alarm(0), 0);
    });
    signal(SIGUSR1, SIG_IGN);
    TEST_SUCC(sigprocmask(SIG_SETMASK, &old, NULL));
    signal(SIGUSR1, SIG_DFL);
}

FN_TEST(alarms_are_not_inherited)
{
    alarm(100);
    TEST_CHILD({ TEST_EQ(alarm(0), 0); });
    TEST_CHECK(alarm(0) > 90);
}

FN_TEST(a_tree)
{
    /* Each process forks two, three levels deep; every exit code adds up. */
    int total = 0;
    pid_t root = getpid();
    for (int level = 0; level < 3; level++) {
        for (int i = 0; i < 2; i++) {
            pid_t pid = TEST_SUCC(fork());
            if (pid == 0) {
                total = 1;
                goto next;
            }
            int status = test_wait(pid);
            TEST_CHECK(WIFEXITED(status));
            total += WEXITSTATUS(status);
        }
        break;
    next:;
    }
    if (getpid() != root)
        _exit(total);
    TEST_EQ(total, 2 + 4 + 8);
}

FN_TEST(odfork_is_a_fork)
{
    pid_t pid = syscall(600);
    if (pid == -1) {
        TEST_EQ(errno, ENOSYS); /* Linux */
        return;
    }
    if (pid == 0) {
        variable = 50;
        _exit(getppid() == test_pid ? 0 : 1);
    }
    variable = 60;
    TEST_REAP(pid);
    TEST_EQ(variable, 60);
}

/* vfork by hand: the compiler must not keep anything in the frame that the child shares. */
static volatile int shared;

FN_TEST(vfork_shares_memory_and_waits)
{
    shared = 1;
    pid_t pid = vfork();
    if (pid == 0) {
        struct timespec t = {0, 20000000};
        nanosleep(&t, NULL);
        shared = 2;
        _exit(3);
    }
    TEST_EQ(shared, 2);
    TEST_EQ(test_wait(pid), 3 << 8);
}

FN_TEST(vfork_ends_with_exec)
{
    static char *const argv[] = {"sh", "-c", "read x; exit 4", NULL};
    int p[2];
    TEST_SUCC(pipe(p));
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(p[0], 0);
        close(p[1]);
        execv("/bin/sh", argv);
        _exit(1);
    }
    TEST_SUCC(write(p[1], "\n", 1)); /* the parent runs although the child does */
    TEST_EQ(test_wait(pid), 4 << 8);
    close(p[0]), close(p[1]);
}

FN_TEST(vfork_child_dies)
{
    pid_t pid = vfork();
    if (pid == 0) {
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    TEST_EQ(test_wait(pid), SIGKILL);
}

static char child_stack[65536] __attribute__((aligned(16)));
static int clone_argument;

static int in_clone(void *argument)
{
    shared = 99;
    return *(int *)argument;
}

FN_TEST(clone_vm)
{
    clone_argument = 5;
    shared = 0;
    pid_t pid = TEST_SUCC(clone(in_clone, child_stack + sizeof child_stack, CLONE_VM | SIGCHLD, &clone_argument));
    TEST_EQ(test_wait(pid), 5 << 8);
    TEST_EQ(shared, 99);
    shared = 0;
    pid = TEST_SUCC(clone(in_clone, child_stack + sizeof child_stack, SIGCHLD, &clone_argument));
    TEST_EQ(test_wait(pid), 5 << 8);
    TEST_EQ(shared, 0);
}

static int open_something(void *unused)
{
    (void)unused;
    return dup2(1, 77) == 77 && chdir("/tmp") == 0 ? 0 : 1;
}

FN_TEST(clone_files_and_fs)
{
    char before[4096], after[4096];
    TEST_CHECK(getcwd(before, sizeof before));
    pid_t pid = TEST_SUCC(clone(open_something, child_stack + sizeof child_stack, SIGCHLD, NULL));
    TEST_REAP(pid);
    TEST_ERRNO(fcntl(77, F_GETFD), EBADF);
    TEST_CHECK(getcwd(after, sizeof after));
    TEST_STR(before, after);
    pid = TEST_SUCC(clone(open_something, child_stack + sizeof child_stack, CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
    TEST_REAP(pid);
    TEST_SUCC(close(77));
    TEST_CHECK(getcwd(after, sizeof after));
    TEST_STR(after, "/tmp");
    TEST_SUCC(chdir(before));
}

static int set_handler(void *unused)
{
    (void)unused;
    signal(SIGUSR2, SIG_IGN);
    return 0;
}

FN_TEST(clone_sighand)
{
    struct sigaction action;
    pid_t pid = TEST_SUCC(clone(set_handler, child_stack + sizeof child_stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, NULL));
    TEST_REAP(pid);
    TEST_SUCC(sigaction(SIGUSR2, NULL, &action));
    TEST_CHECK(action.sa_handler == SIG_IGN);
    signal(SIGUSR2, SIG_DFL);
}

static int tell_parent(void *unused)
{
    (void)unused;
    shared = getppid();
    return 0;
}

FN_TEST(clone_parent)
{
    pid_t own = getpid();
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        pid_t sibling = clone(in_clone, child_stack + sizeof child_stack, CLONE_PARENT | SIGUSR1, &clone_argument);
        TEST_ERRNO(waitpid(sibling, NULL, 0), ECHILD);
        _exit(sibling > 0 ? 0 : 1);
    }
    TEST_REAP(pid);
    clone_argument = 5;
    int status;
    TEST_CHECK(waitpid(-1, &status, 0) > 0);
    shared = 0;
    pid = TEST_SUCC(clone(tell_parent, child_stack + sizeof child_stack, CLONE_VM | SIGCHLD, NULL));
    TEST_REAP(pid);
    TEST_EQ(shared, own);
}

FN_TEST(tids_are_stored)
{
    static volatile int parent_tid, child_tid;
    parent_tid = child_tid = 0;
    pid_t pid = TEST_SUCC(syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &parent_tid,
                                  &child_tid, 0));
    if (pid == 0)
        _exit(child_tid == getpid() && parent_tid == 0 ? 0 : 1);
    TEST_EQ(parent_tid, pid);
    TEST_EQ(child_tid, 0);
    TEST_REAP(pid);
    /* A bad address is ignored. */
    pid = TEST_SUCC(syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, 8,
                            8, 0));
    if (pid == 0)
        _exit(0);
    TEST_REAP(pid);
}

FN_TEST(refused_by_clone)
{
#define REFUSED(flags, error) TEST_ERRNO(syscall(SYS_clone, (long)(flags), 0, 0, 0, 0), error)
    REFUSED(CLONE_SIGHAND | SIGCHLD, EINVAL);
    REFUSED(CLONE_THREAD | SIGCHLD, EINVAL);
    REFUSED(CLONE_THREAD | CLONE_VM | SIGCHLD, EINVAL);
    REFUSED(CLONE_FS | CLONE_NEWNS | SIGCHLD, EINVAL);
    REFUSED(CLONE_FS | CLONE_NEWUSER | SIGCHLD, EINVAL);
    REFUSED(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, EINVAL);
    REFUSED(CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, EINVAL);
#undef REFUSED
}

static long clone3(struct clone3_args *args, size_t size)
{
    return syscall(SYS_clone3, args, size);
}

FN_TEST(refused_by_clone3)
{
    struct clone3_args args, good = {.exit_signal = SIGCHLD};
    struct { struct clone3_args args; char more[64]; } longer;
    unsigned char *page = test_map(TEST_PAGE);
    TEST_ERRNO(clone3(&good, 63), EINVAL);
    TEST_ERRNO(clone3(&good, 4097), E2BIG);
    TEST_ERRNO(clone3(NULL, sizeof good), EFAULT);
    TEST_ERRNO(clone3((void *)(page + TEST_PAGE - 64), TEST_PAGE), EFAULT);
    memset(&longer, 0, sizeof longer);
    longer.more[63] = 1;
    TEST_ERRNO(clone3(&longer.args, sizeof longer), E2BIG);
#define REFUSED(error, ...) (args = (struct clone3_args){__VA_ARGS__}, TEST_ERRNO(clone3(&args, sizeof args), error))
    REFUSED(EINVAL, .exit_signal = 65);
    REFUSED(EINVAL, .exit_signal = 0x100 | SIGCHLD);
    REFUSED(EINVAL, .flags = SIGCHLD);
    REFUSED(EINVAL, .flags = CLONE_DETACHED);
    REFUSED(EINVAL, .flags = 1ULL << 40);
    REFUSED(EINVAL, .flags = CLONE_PARENT, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .flags = CLONE_SIGHAND, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .stack = (uintptr_t)child_stack, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .stack_size = 4096, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .stack = 1ULL << 62, .stack_size = 1ULL << 62, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .set_tid_size = 1, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .set_tid = (uintptr_t)page, .exit_signal = SIGCHLD);
    REFUSED(EINVAL, .set_tid = (uintptr_t)page, .set_tid_size = 33, .exit_signal = SIGCHLD);
#undef REFUSED
}

FN_TEST(clone3_forks)
{
    int tid = 0;
    struct clone3_args args = {.exit_signal = SIGCHLD, .flags = CLONE_PARENT_SETTID, .parent_tid = (uintptr_t)&tid};
    for (size_t size = VER0; size <= VER2; size += 8) {
        pid_t pid = TEST_SUCC(clone3(&args, size));
        if (pid == 0)
            _exit(11);
        TEST_EQ(tid, pid);
        TEST_EQ(test_wait(pid), 11 << 8);
    }
}

FN_TEST(clone3_clears_handlers)
{
    struct sigaction action;
    struct clone3_args args = {.exit_signal = SIGCHLD, .flags = CLONE_CLEAR_SIGHAND};
    signal(SIGUSR1, (void (*)(int))in_clone);
    signal(SIGUSR2, SIG_IGN);
    pid_t pid = TEST_SUCC(clone3(&args, sizeof args));
    if (pid == 0) {
        TEST_SUCC(sigaction(SIGUSR1, NULL, &action));
        TEST_CHECK(action.sa_handler == SIG_DFL);
        TEST_SUCC(sigaction(SIGUSR2, NULL, &action));
        TEST_CHECK(action.sa_handler == SIG_IGN);
        _exit(0);
    }
    TEST_REAP(pid);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

static void *count(void *counter)
{
    for (int i = 0; i < 1000; i++)
        __atomic_add_fetch((int *)counter, 1, __ATOMIC_SEQ_CST);
    return (void *)syscall(SYS_gettid);
}

FN_TEST(threads)
{
    pthread_t threads[8];
    int counter = 0;
    void *tids[8];
    for (int i = 0; i < 8; i++)
        TEST_EQ(pthread_create(&threads[i], NULL, count, &counter), 0);
    for (int i = 0; i < 8; i++)
        TEST_EQ(pthread_join(threads[i], &tids[i]), 0);
    TEST_EQ(counter, 8000);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j <= i; j++)
            TEST_CHECK((long)tids[i] != getpid() && (i == j || tids[i] != tids[j]));
    TEST_ERRNO(syscall(SYS_tgkill, getpid(), (long)tids[0], 0), ESRCH);
}

static void *fork_in_a_thread(void *unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0)
        _exit(getpid() == (pid_t)syscall(SYS_gettid) && getppid() == test_pid ? 21 : 1);
    return (void *)(long)pid;
}

FN_TEST(fork_from_a_thread)
{
    pthread_t thread;
    void *pid;
    TEST_EQ(pthread_create(&thread, NULL, fork_in_a_thread, NULL), 0);
    pthread_join(thread, &pid);
    TEST_EQ(test_wait((pid_t)(long)pid), 21 << 8);
}

FN_TEST(process_limit)
{
    /* Root is not bound by it. */
    TEST_CHILD({
        if (getuid() == 0)
            TEST_SUCC(setuid(65533));
        struct rlimit limit = {1, 1};
        TEST_SUCC(setrlimit(RLIMIT_NPROC, &limit));
        TEST_ERRNO(fork(), EAGAIN);
    });
}

FN_TEST(registers_of_the_child)
{
    /* A child's registers are the parent's, but for the result. */
    register long a asm("rbx") = 0x1122334455667788, b asm("r12") = -5, c asm("r15") = 77, pid;
    asm volatile("syscall" : "=a"(pid), "+r"(a), "+r"(b), "+r"(c) : "0"(SYS_fork) : "rcx", "r11", "memory");
    if (pid == 0)
        _exit(a == 0x1122334455667788 && b == -5 && c == 77 ? 0 : 1);
    TEST_REAP(pid);
    TEST_CHECK(a == 0x1122334455667788 && b == -5 && c == 77);
}

FN_TEST(two_hundred_in_a_row)
{
    for (int i = 0; i < 200; i++)
        TEST_CHILD({ variable += i; });
}
