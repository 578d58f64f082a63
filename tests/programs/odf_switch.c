/* /proc/<pid>/use_odf: only under Forkyard (the host has no such file). */
#include "test.h"
#include <pthread.h>

static int put(const char *text)
{
    int fd = TEST_SUCC(open("/proc/self/use_odf", O_WRONLY));
    long n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n;
}

static const char *get_from(const char *path)
{
    static char text[16];
    int fd = TEST_SUCC(open(path, O_RDONLY));
    long n = TEST_SUCC(read(fd, text, sizeof text - 1));
    text[n] = 0;
    close(fd);
    return text;
}

static const char *get(void) { return get_from("/proc/self/use_odf"); }

FN_TEST(mode_and_place)
{
    struct stat st;
    char path[64];
    TEST_SUCC(stat("/proc/self/use_odf", &st));
    TEST_EQ(st.st_mode, S_IFREG | 0644);
    snprintf(path, sizeof path, "/proc/self/task/%d/use_odf", getpid());
    TEST_ERRNO(stat(path, &st), ENOENT);
    snprintf(path, sizeof path, "/proc/%d/use_odf", getpid());
    TEST_STR(get_from(path), "0\n");
}

FN_TEST(accepted)
{
    static const char *const ones[] = {"1", "1\n", "0x1", "01", "+1", "0X1\n", "001"};
    static const char *const zeros[] = {"0", "0\n", "0x0", "00", "+0"};
    for (unsigned i = 0; i < sizeof ones / sizeof *ones; i++) {
        TEST_EQ(put(ones[i]), strlen(ones[i]));
        TEST_STR(get(), "1\n");
        TEST_EQ(put(zeros[i % 5]), strlen(zeros[i % 5]));
        TEST_STR(get(), "0\n");
    }
}

FN_TEST(other_numbers_are_ignored)
{
    TEST_EQ(put("1"), 1);
    TEST_EQ(put("2"), 1);
    TEST_STR(get(), "1\n");
    TEST_EQ(put("4294967295"), 10);
    TEST_STR(get(), "1\n");
    TEST_EQ(put("0"), 1);
    TEST_EQ(put("077"), 3);
    TEST_STR(get(), "0\n");
}

FN_TEST(refused)
{
    static const char *const bad[] = {"\n", "x", "1x", " 1", "-1", "1 ", "1\n\n", "0x", "08", "1\n1", "++1", "on"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        TEST_ERRNO(put(bad[i]), EINVAL);
    TEST_ERRNO(put("4294967296"), ERANGE);
    TEST_ERRNO(put("99999999999999999999999"), ERANGE);
    TEST_STR(get(), "0\n");
}

FN_TEST(children_inherit_but_do_not_share)
{
    TEST_EQ(put("1"), 1);
    TEST_CHILD({ TEST_STR(get(), "1\n"); TEST_EQ(put("0"), 1); });
    TEST_STR(get(), "1\n");
    TEST_EQ(put("0"), 1);
    TEST_CHILD({ TEST_STR(get(), "0\n"); TEST_EQ(put("1"), 1); });
    TEST_STR(get(), "0\n");
}

static void *set_it(void *unused)
{
    put("1");
    return unused;
}

FN_TEST(threads_share)
{
    pthread_t thread;
    TEST_EQ(pthread_create(&thread, NULL, set_it, NULL), 0);
    pthread_join(thread, NULL);
    TEST_STR(get(), "1\n");
    TEST_EQ(put("0"), 1);
}

FN_TEST(execve_keeps_it)
{
    int out[2];
    char text[8] = "";
    for (int on = 0; on < 2; on++) {
        TEST_SUCC(pipe(out));
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            dup2(out[1], 1);
            TEST_EQ(put(on ? "1" : "0"), 1);
            execl("/bin/cat", "cat", "/proc/self/use_odf", (char *)NULL);
            _exit(9);
        }
        TEST_REAP(pid);
        TEST_RES(read(out[0], text, sizeof text), _ret == 2);
        TEST_EQ(text[0], '0' + on);
        close(out[0]), close(out[1]);
    }
}

FN_TEST(another_process)
{
    int gate[2];
    char c, path[64];
    TEST_SUCC(pipe(gate));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        TEST_SUCC(read(gate[0], &c, 1));
        TEST_STR(get(), "1\n");
        _exit(0);
    }
    snprintf(path, sizeof path, "/proc/%d/use_odf", pid);
    int fd = TEST_SUCC(open(path, O_RDWR));
    TEST_EQ(write(fd, "1", 1), 1);
    TEST_STR(get(), "0\n");
    TEST_SUCC(write(gate[1], "x", 1));
    TEST_REAP(pid);
    TEST_ERRNO(pwrite(fd, "1", 1, 0), ESRCH); /* gone */
    TEST_ERRNO(pread(fd, path, 4, 0), ESRCH);
    close(fd), close(gate[0]), close(gate[1]);
}

FN_TEST(a_zombie_has_no_memory)
{
    char path[64];
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    snprintf(path, sizeof path, "/proc/%d/use_odf", pid);
    int fd = TEST_SUCC(open(path, O_RDWR));
    TEST_ERRNO(write(fd, "1", 1), ESRCH);
    close(fd);
    TEST_REAP(pid);
}

FN_TEST(read_in_pieces)
{
    char c[4];
    int fd = TEST_SUCC(open("/proc/self/use_odf", O_RDONLY));
    TEST_RES(read(fd, c, 1), _ret == 1 && c[0] == '0');
    TEST_RES(read(fd, c, 4), _ret == 1 && c[0] == '\n');
    TEST_RES(read(fd, c, 4), _ret == 0);
    close(fd);
}
