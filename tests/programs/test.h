/* One header for guest tests: they judge themselves and print the same natively and under Forkyard.
 *
 *     #include "test.h"
 *
 *     FN_TEST(pipe_closes)
 *     {
 *         int p[2];
 *         TEST_SUCC(pipe(p));
 *         TEST_SUCC(close(p[1]));
 *         TEST_RES(read(p[0], buf, 1), _ret == 0);
 *         TEST_ERRNO(close(p[1]), EBADF);
 *     }
 *
 * One line a test, in the order of the file: "ok name" or "FAIL name file:line what". The first failed check ends its
 * test. Exit status: 1 when any failed. `prog [odf|classic] [name…]`: with "odf" the program writes 1 to
 * /proc/self/use_odf where that file exists; names choose tests. `prog -l` lists them.
 *
 * Failed checks in a forked child print the line and leave with status 99; TEST_CHILD and test_wait() pass that on.
 * Needs only libc; no stdio, so nothing is printed twice by fork.
 */
#ifndef FORKYARD_TEST_H
#define FORKYARD_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_CHILD_FAILED 99
#define TEST_PAGE 4096UL
#define TEST_TABLE (512 * TEST_PAGE) /* what one page table maps */

#define TEST_UNUSED __attribute__((unused))

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

/* What older libcs lack. */
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct test_case {
    const char *name;
    void (*run)(void);
    int line;
    struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static const char *test_name = "?";
static jmp_buf test_out;
static pid_t test_pid;
static int test_failed;
/* 1 when the program was started with "odf" (and the kernel knows of it). */
static int test_odf TEST_UNUSED;
static int test_argc TEST_UNUSED;
static char **test_argv TEST_UNUSED;

TEST_UNUSED static void test_register(struct test_case *t)
{
    *test_last = t;
    test_last = &t->next;
}

#define FN_TEST(id)                                                                        \
    static void test_fn_##id(void);                                                        \
    static struct test_case test_case_##id = {#id, test_fn_##id, __LINE__, NULL};          \
    __attribute__((constructor)) static void test_ctor_##id(void) { test_register(&test_case_##id); } \
    static void test_fn_##id(void)

/* printf through one write(2). */
TEST_UNUSED __attribute__((format(printf, 1, 2))) static void test_print(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > (int)sizeof line - 1)
        n = sizeof line - 1;
    for (int done = 0; done < n;) {
        ssize_t w = write(1, line + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break;
        done += w;
    }
}

TEST_UNUSED static const char *test_errno_name(int e)
{
    static char number[24];
    switch (e) {
#define E(x) case x: return #x;
        E(EPERM) E(ENOENT) E(ESRCH) E(EINTR) E(EIO) E(ENXIO) E(E2BIG) E(ENOEXEC) E(EBADF) E(ECHILD) E(EAGAIN)
        E(ENOMEM) E(EACCES) E(EFAULT) E(EBUSY) E(EEXIST) E(EXDEV) E(ENODEV) E(ENOTDIR) E(EISDIR) E(EINVAL)
        E(ENFILE) E(EMFILE) E(ENOTTY) E(ETXTBSY) E(EFBIG) E(ENOSPC) E(ESPIPE) E(EROFS) E(EMLINK) E(EPIPE)
        E(ERANGE) E(EDEADLK) E(ENAMETOOLONG) E(ENOSYS) E(ENOTEMPTY) E(ELOOP) E(EOVERFLOW) E(ENOTSOCK)
        E(EOPNOTSUPP) E(ETIMEDOUT) E(ENOBUFS) E(EPROTO) E(ELIBBAD) E(EAFNOSUPPORT)
#undef E
    case 0: return "no error";
    }
    snprintf(number, sizeof number, "errno %d", e);
    return number;
}

/* End the running test as failed: prints its line, then jumps out (or leaves, in a child of the test). */
TEST_UNUSED __attribute__((noreturn, format(printf, 3, 4)))
static void test_fail(const char *file, int line, const char *format, ...)
{
    char what[700];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *slash = strrchr(file, '/');
    test_print("FAIL %s %s:%d %s\n", test_name, slash ? slash + 1 : file, line, what);
    if ((pid_t)syscall(SYS_getpid) != test_pid || syscall(SYS_gettid) != test_pid)
        _exit(TEST_CHILD_FAILED);
    longjmp(test_out, 1);
}

/* The call must not return -1. The value of the macro is the call's. */
#define TEST_SUCC(...)                                                                     \
    ({                                                                                     \
        errno = 0;                                                                         \
        __auto_type _ret = (__VA_ARGS__);                                                  \
        int _err = errno;                                                                  \
        if ((long)_ret == -1)                                                              \
            test_fail(__FILE__, __LINE__, "%s: %s", #__VA_ARGS__, test_errno_name(_err));  \
        _ret;                                                                              \
    })

/* The call must return -1 with errno == expected. */
#define TEST_ERRNO(expr, expected)                                                         \
    ({                                                                                     \
        errno = 0;                                                                         \
        long _ret = (long)(expr);                                                          \
        int _err = errno;                                                                  \
        if (_ret != -1)                                                                    \
            test_fail(__FILE__, __LINE__, "%s: returned %ld, not " #expected, #expr, _ret); \
        if (_err != (expected))                                                            \
            test_fail(__FILE__, __LINE__, "%s: %s, not " #expected, #expr, test_errno_name(_err)); \
        _ret;                                                                              \
    })

/* cond, on _ret (a long) and errno, must hold. */
#define TEST_RES(expr, ...)                                                                \
    ({                                                                                     \
        errno = 0;                                                                         \
        long _ret = (long)(expr);                                                          \
        int _err = errno;                                                                  \
        if (!(__VA_ARGS__))                                                                \
            test_fail(__FILE__, __LINE__, "%s: _ret = %ld (%s), not %s", #expr, _ret,      \
                      test_errno_name(_err), #__VA_ARGS__);                                \
        _ret;                                                                              \
    })

#define TEST_CHECK(...)                                                                    \
    do {                                                                                   \
        if (!(__VA_ARGS__))                                                                \
            test_fail(__FILE__, __LINE__, "%s", #__VA_ARGS__);                             \
    } while (0)

#define TEST_EQ(a, b)                                                                      \
    do {                                                                                   \
        long _a = (long)(a), _b = (long)(b);                                               \
        if (_a != _b)                                                                      \
            test_fail(__FILE__, __LINE__, "%s = %ld (0x%lx), not %s = %ld (0x%lx)", #a, _a, _a, #b, _b, _b); \
    } while (0)

#define TEST_STR(a, b)                                                                     \
    do {                                                                                   \
        const char *_a = (a), *_b = (b);                                                   \
        if (strcmp(_a, _b))                                                                \
            test_fail(__FILE__, __LINE__, "%s is \"%.200s\", not \"%.200s\"", #a, _a, _b); \
    } while (0)

/* Reap `pid` and return its wait(2) status; a failed check in it fails this test without a second line. */
TEST_UNUSED static int test_wait_at(pid_t pid, const char *file, int line)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) == -1 && errno == EINTR)
        ;
    if (got != pid)
        test_fail(file, line, "waitpid(child) = %d (%s)", (int)got, test_errno_name(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_CHILD_FAILED) {
        if ((pid_t)syscall(SYS_getpid) != test_pid)
            _exit(TEST_CHILD_FAILED);
        longjmp(test_out, 1);
    }
    return status;
}
#define test_wait(pid) test_wait_at(pid, __FILE__, __LINE__)

TEST_UNUSED static void test_child_ended_well(pid_t pid, const char *file, int line)
{
    int status = test_wait_at(pid, file, line);
    if (status != 0)
        test_fail(file, line, "the child ended with wait status 0x%x", status);
}

/* The child must exit 0 with no failed check. */
#define TEST_REAP(pid) test_child_ended_well(pid, __FILE__, __LINE__)

/* Run the block in a forked child; the test goes on when it has left with 0. */
#define TEST_CHILD(...)                                                                    \
    do {                                                                                   \
        pid_t _child = TEST_SUCC(fork());                                                  \
        if (_child == 0) {                                                                 \
            __VA_ARGS__;                                                                   \
            _exit(0);                                                                      \
        }                                                                                  \
        TEST_REAP(_child);                                                                 \
    } while (0)

/* As TEST_CHILD, but gives the wait status instead of judging it. */
#define TEST_CHILD_STATUS(...)                                                             \
    ({                                                                                     \
        pid_t _child = TEST_SUCC(fork());                                                  \
        if (_child == 0) {                                                                 \
            __VA_ARGS__;                                                                   \
            _exit(0);                                                                      \
        }                                                                                  \
        test_wait(_child);                                                                 \
    })

/* A name that no other run uses at this time, and the same natively and under Forkyard: of the working directory. */
TEST_UNUSED static const char *test_own_name(const char *prefix)
{
    static char name[64], cwd[4096];
    unsigned long hash = 5381;
    for (const char *at = getcwd(cwd, sizeof cwd) ? cwd : ""; *at; at++)
        hash = hash * 33 + (unsigned char)*at;
    snprintf(name, sizeof name, "%s%lx", prefix, hash);
    return name;
}

/* The state letter of a thread's stat file, as R, S or T; 0 when there is no such thread. */
TEST_UNUSED static char test_state(pid_t pid, pid_t tid)
{
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    char *name_end = strrchr(text, ')');
    return name_end ? name_end[2] : 0;
}

/* Wait until the thread sleeps in a call; one that has ended counts, too. */
TEST_UNUSED static void test_until_asleep(pid_t pid, pid_t tid)
{
    for (char state; (state = test_state(pid, tid)) != 0 && state != 'S' && state != 'Z';)
        usleep(1000);
}

/* A child that sends `signo` to this process, once, when it has gone to sleep. */
TEST_UNUSED static pid_t test_signal_in_sleep(int signo)
{
    pid_t sleeper = getpid(), child = TEST_SUCC(fork());
    if (child == 0) {
        test_until_asleep(sleeper, sleeper);
        kill(sleeper, signo);
        _exit(0);
    }
    return child;
}

/* Run the block, whose first call that sleeps gets the signal, however slow the machine is. */
#define TEST_SIGNALLED(signo, ...)                                                         \
    do {                                                                                   \
        pid_t _sender = test_signal_in_sleep(signo);                                       \
        __VA_ARGS__;                                                                       \
        TEST_REAP(_sender);                                                                \
    } while (0)

/* What the CPU raised while the block ran; signo 0 when nothing. */
struct test_fault {
    int signo, code;
    void *address;
};
static sigjmp_buf test_fault_out;
static volatile struct test_fault test_fault_seen TEST_UNUSED;

TEST_UNUSED static void test_on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    test_fault_seen.signo = signo;
    test_fault_seen.code = info->si_code;
    test_fault_seen.address = info->si_addr;
    siglongjmp(test_fault_out, 1);
}

TEST_UNUSED static void test_catch_faults(int on)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = on ? SA_SIGINFO : 0;
    if (on)
        action.sa_sigaction = test_on_fault;
    else
        action.sa_handler = SIG_DFL;
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

#define TEST_FAULT(...)                                                                    \
    ({                                                                                     \
        test_fault_seen.signo = 0;                                                         \
        test_catch_faults(1);                                                              \
        if (!sigsetjmp(test_fault_out, 1)) {                                               \
            __VA_ARGS__;                                                                   \
        }                                                                                  \
        test_catch_faults(0);                                                              \
        (struct test_fault){test_fault_seen.signo, test_fault_seen.code, test_fault_seen.address}; \
    })

/* The block must raise signal `s` with si_code `c` at address `a`. */
#define TEST_FAULTS(s, c, a, ...)                                                          \
    do {                                                                                   \
        struct test_fault _f = TEST_FAULT(__VA_ARGS__);                                    \
        if (_f.signo != (s) || _f.code != (c) || _f.address != (void *)(a))                \
            test_fail(__FILE__, __LINE__, "%s: signal %d code %d address %p, not " #s " " #c " %p", #__VA_ARGS__, \
                      _f.signo, _f.code, _f.address, (void *)(a));                         \
    } while (0)

/* The block must run without a fault. */
#define TEST_NO_FAULT(...)                                                                 \
    do {                                                                                   \
        struct test_fault _f = TEST_FAULT(__VA_ARGS__);                                    \
        if (_f.signo)                                                                      \
            test_fail(__FILE__, __LINE__, "%s: signal %d code %d address %p", #__VA_ARGS__, \
                      _f.signo, _f.code, _f.address);                                      \
    } while (0)

/* Volatile access that the compiler can neither drop nor merge. */
#define TEST_PEEK(p) (*(volatile unsigned char *)(p))
#define TEST_POKE(p, v) (*(volatile unsigned char *)(p) = (unsigned char)(v))

/* Anonymous private memory, read-write, at an address aligned to `align` (a power of two). */
TEST_UNUSED static unsigned char *test_map_aligned(size_t length, size_t align)
{
    size_t all = length + align;
    unsigned char *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        test_fail(__FILE__, __LINE__, "mmap of %zu bytes: %s", all, test_errno_name(errno));
    unsigned char *start = (unsigned char *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
    if (start > p)
        munmap(p, start - p);
    if (start + length < p + all)
        munmap(start + length, p + all - (start + length));
    return start;
}

TEST_UNUSED static unsigned char *test_map(size_t length)
{
    return test_map_aligned(length, TEST_PAGE);
}

/* Turn the process's use_odf on or off; -1 where the kernel has no such file. */
TEST_UNUSED static int test_set_odf(int on)
{
    int fd = open("/proc/self/use_odf", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, on ? "1\n" : "0\n", 2);
    close(fd);
    return n == 2 ? 0 : -1;
}

TEST_UNUSED static void test_run(struct test_case *t)
{
    static volatile int failed;
    failed = 0;
    test_name = t->name;
    if (setjmp(test_out) == 0)
        t->run();
    else
        failed = 1;
    if (failed)
        test_failed++;
    else
        test_print("ok %s\n", t->name);
}

TEST_UNUSED static int test_chosen(const struct test_case *t, int argc, char **argv, int from)
{
    for (int i = from; i < argc; i++)
        if (strcmp(argv[i], t->name) == 0)
            return 1;
    return from >= argc;
}

#ifndef TEST_NO_MAIN
int main(int argc, char **argv)
{
    int from = 1;
    test_argc = argc;
    test_argv = argv;
    test_pid = getpid();
    if (from < argc && strcmp(argv[from], "-l") == 0) {
        for (struct test_case *t = test_first; t; t = t->next)
            test_print("%s\n", t->name);
        return 0;
    }
    if (from < argc && (strcmp(argv[from], "odf") == 0 || strcmp(argv[from], "classic") == 0)) {
        test_odf = test_set_odf(argv[from][0] == 'o') == 0 && argv[from][0] == 'o';
        from++;
    }
    for (struct test_case *t = test_first; t; t = t->next)
        if (test_chosen(t, argc, argv, from))
            test_run(t);
    return test_failed != 0;
}
#endif

#endif
