/* getrlimit, setrlimit, prlimit64 and /proc/<pid>/limits. */
#include "proc.h"
#include <sys/resource.h>

FN_TEST(soft_limits_move_below_the_hard_one)
{
    TEST_CHILD({
        struct rlimit limit;
        struct rlimit got;
        TEST_SUCC(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = 100;
        TEST_SUCC(setrlimit(RLIMIT_NOFILE, &limit));
        TEST_SUCC(getrlimit(RLIMIT_NOFILE, &got));
        TEST_CHECK(got.rlim_cur == 100 && got.rlim_max == limit.rlim_max);
        TEST_ERRNO(dup2(0, 100), EBADF);
        TEST_EQ(dup2(1, 99), 99);
        TEST_EQ(fcntl(1, F_DUPFD, 98), 98);
        TEST_ERRNO(fcntl(1, F_DUPFD, 99), EMFILE);
        limit.rlim_cur = 50;
        limit.rlim_max = 40;
        TEST_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
        limit.rlim_cur = limit.rlim_max = 80;
        TEST_SUCC(setrlimit(RLIMIT_NOFILE, &limit));
        TEST_CHECK(proc_read("/proc/self/limits") > 0);
        TEST_CHECK(strstr(proc_text, "Max open files            80                   80                   files     \n"));
        TEST_CHILD({
            TEST_SUCC(getrlimit(RLIMIT_NOFILE, &got));
            TEST_CHECK(got.rlim_cur == 80 && got.rlim_max == 80); /* inherited */
        });
    });
}

FN_TEST(raising_needs_privilege)
{
    TEST_CHILD({
        struct rlimit limit = {1000000, 1000000};
        TEST_SUCC(setrlimit(RLIMIT_FSIZE, &limit));
        if (geteuid() == 0)
            TEST_SUCC(syscall(SYS_setresuid, 1000, 1000, 1000));
        limit.rlim_max = 1000001;
        TEST_ERRNO(setrlimit(RLIMIT_FSIZE, &limit), EPERM);
        limit.rlim_max = RLIM_INFINITY;
        TEST_ERRNO(setrlimit(RLIMIT_FSIZE, &limit), EPERM);
        struct rlimit nofile = {1 << 20, (1 << 20) + 1};
        TEST_ERRNO(setrlimit(RLIMIT_NOFILE, &nofile), EPERM); /* above fs.nr_open */
    });
}

FN_TEST(bad_arguments)
{
    struct rlimit limit;
    TEST_ERRNO(syscall(SYS_getrlimit, 16, &limit), EINVAL);
    TEST_ERRNO(syscall(SYS_getrlimit, -1, &limit), EINVAL);
    TEST_ERRNO(syscall(SYS_getrlimit, RLIMIT_AS, 1), EFAULT);
    TEST_ERRNO(syscall(SYS_setrlimit, RLIMIT_AS, 1), EFAULT);
    TEST_ERRNO(syscall(SYS_prlimit64, 99999999, RLIMIT_AS, NULL, &limit), ESRCH);
    TEST_ERRNO(syscall(SYS_prlimit64, 0, 16, NULL, &limit), EINVAL);
    TEST_SUCC(syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, NULL));
    for (int i = 0; i < 16; i++)
        TEST_SUCC(syscall(SYS_getrlimit, i, &limit));
}

FN_TEST(prlimit_of_a_child)
{
    int go[2], done[2];
    char c;
    TEST_SUCC(pipe(go));
    TEST_SUCC(pipe(done));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        (void)!read(go[0], &c, 1);
        struct rlimit limit;
        TEST_SUCC(getrlimit(RLIMIT_CORE, &limit));
        TEST_CHECK(limit.rlim_cur == 0 && limit.rlim_max == 4096);
        _exit(0);
    }
    struct rlimit new = {0, 4096}, old;
    TEST_SUCC(prlimit(child, RLIMIT_CORE, &new, &old));
    TEST_SUCC(prlimit(child, RLIMIT_CORE, NULL, &old));
    TEST_CHECK(old.rlim_cur == 0 && old.rlim_max == 4096);
    TEST_EQ(write(go[1], "x", 1), 1);
    TEST_REAP(child);
}

FN_TEST(file_size_limit)
{
    TEST_CHILD({
        struct rlimit limit = {10, 100};
        TEST_SUCC(setrlimit(RLIMIT_FSIZE, &limit));
        signal(SIGXFSZ, SIG_IGN);
        int fd = TEST_SUCC(open("proc-limited", O_RDWR | O_CREAT | O_TRUNC, 0600));
        TEST_EQ(write(fd, "0123456789abcdef", 16), 10);
        TEST_ERRNO(write(fd, "x", 1), EFBIG);
        TEST_ERRNO(ftruncate(fd, 11), EFBIG);
        TEST_SUCC(unlink("proc-limited"));
        signal(SIGXFSZ, SIG_DFL);
    });
    int status = TEST_CHILD_STATUS({
        struct rlimit limit = {1, 1};
        TEST_SUCC(setrlimit(RLIMIT_FSIZE, &limit));
        int fd = TEST_SUCC(open("proc-limited", O_RDWR | O_CREAT | O_TRUNC, 0600));
        TEST_SUCC(unlink("proc-limited"));
        TEST_EQ(write(fd, "xx", 2), 1);
        (void)!write(fd, "x", 1);
    });
    TEST_EQ(status & 0x7f, SIGXFSZ);
}
