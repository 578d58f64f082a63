/* /proc/<pid>/use_odf: the switch of on-demand fork. Where the kernel has no such file (natively) nothing is checked. */
#include "proc.h"
#include <sys/prctl.h>

#define ODF "/proc/self/use_odf"

static int here(void)
{
    return access(ODF, F_OK) == 0;
}

static const char *value(void)
{
    TEST_CHECK(proc_read(ODF) == 2);
    return proc_text;
}

FN_TEST(reads_and_writes)
{
    if (!here())
        return;
    struct stat st;
    TEST_SUCC(stat(ODF, &st));
    TEST_EQ(st.st_mode, S_IFREG | 0644);
    static const char *set[] = {"1", "1\n", "0x1", "0X1\n", "01", "+1", "001"};
    static const char *clear[] = {"0", "0\n", "0x0", "00", "+0"};
    static const char *ignored[] = {"2", "4294967295", "0xffffffff", "037777777777", "10\n", "0x10"};
    for (unsigned i = 0; i < sizeof set / sizeof *set; i++) {
        TEST_EQ(proc_write(ODF, "0"), 1);
        TEST_EQ(proc_write(ODF, set[i]), strlen(set[i]));
        TEST_STR(value(), "1\n");
    }
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        TEST_EQ(proc_write(ODF, ignored[i]), strlen(ignored[i]));
        TEST_STR(value(), "1\n");
    }
    for (unsigned i = 0; i < sizeof clear / sizeof *clear; i++) {
        TEST_EQ(proc_write(ODF, "1"), 1);
        TEST_EQ(proc_write(ODF, clear[i]), strlen(clear[i]));
        TEST_STR(value(), "0\n");
    }
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        TEST_EQ(proc_write(ODF, ignored[i]), strlen(ignored[i]));
        TEST_STR(value(), "0\n");
    }
}

FN_TEST(bad_text)
{
    if (!here())
        return;
    static const char *invalid[] = {"", "\n", " 1", "1 ", "1\n\n", "-1", "x", "1x", "0x", "0xg", "08", "++1", "+", "1 0", "\t1"};
    static const char *range[] = {"4294967296", "0x100000000", "040000000000", "18446744073709551616",
                                  "99999999999999999999999999999999"};
    TEST_EQ(proc_write(ODF, "1"), 1);
    for (unsigned i = 0; i < sizeof invalid / sizeof *invalid; i++)
        if (proc_write(ODF, invalid[i]) != -1 || errno != EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\": %s", invalid[i], test_errno_name(errno));
    for (unsigned i = 0; i < sizeof range / sizeof *range; i++)
        if (proc_write(ODF, range[i]) != -1 || errno != ERANGE)
            test_fail(__FILE__, __LINE__, "\"%s\": %s", range[i], test_errno_name(errno));
    TEST_STR(value(), "1\n");
    int fd = TEST_SUCC(open(ODF, O_RDWR | O_TRUNC | O_CREAT, 0600));
    TEST_ERRNO(syscall(SYS_write, fd, 1, 2), EFAULT);
    TEST_EQ(write(fd, "0\n", 2), 2);
    TEST_EQ(pread(fd, proc_text, 10, 0), 2);
    TEST_EQ(proc_text[0], '0');
    close(fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/use_odf", getpid());
    TEST_ERRNO(open(path, O_RDONLY), ENOENT);
}

FN_TEST(belongs_to_the_address_space)
{
    if (!here())
        return;
    TEST_EQ(proc_write(ODF, "1"), 1);
    TEST_CHILD({
        TEST_STR(value(), "1\n");
        TEST_EQ(proc_write(ODF, "0"), 1);
    });
    TEST_STR(value(), "1\n");
    pid_t child = TEST_SUCC(vfork());
    if (!child) {
        int fd = open(ODF, O_WRONLY);
        _exit(write(fd, "0", 1) != 1);
    }
    TEST_REAP(child);
    TEST_STR(value(), "0\n");
    int status = TEST_CHILD_STATUS({
        TEST_EQ(proc_write(ODF, "1"), 1);
        execl("/bin/sh", "sh", "-c", "read a < /proc/$$/use_odf; test $a = 1", (char *)0);
        _exit(98);
    });
    TEST_EQ(status, 0);
}

FN_TEST(of_others_and_of_the_dead)
{
    if (!here())
        return;
    int go[2];
    char path[64], c;
    TEST_SUCC(pipe(go));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(go[1]);
        (void)!read(go[0], &c, 1);
        _exit(0);
    }
    snprintf(path, sizeof path, "/proc/%d/use_odf", child);
    int fd = TEST_SUCC(open(path, O_RDWR));
    TEST_EQ(write(fd, "1", 1), 1);
    TEST_EQ(pread(fd, &c, 1, 0), 1);
    TEST_EQ(c, '1');
    close(go[0]);
    close(go[1]);
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    TEST_ERRNO(write(fd, "1", 1), ESRCH);
    TEST_ERRNO(pread(fd, &c, 1, 0), ESRCH);
    TEST_REAP(child);
    TEST_ERRNO(write(fd, "1", 1), ESRCH);
    TEST_ERRNO(pread(fd, &c, 1, 0), ESRCH);
    TEST_ERRNO(open(path, O_RDONLY), ENOENT);
    close(fd);
}
