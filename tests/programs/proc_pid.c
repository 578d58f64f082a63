/* /proc/self and /proc/<pid>: what a process can learn there of itself and of others. */
#include "proc.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

FN_TEST(status_agrees_with_calls)
{
    TEST_CHECK(proc_read("/proc/self/status") > 500);
    TEST_EQ(proc_number("Pid"), getpid());
    TEST_EQ(proc_number("Tgid"), getpid());
    TEST_EQ(proc_number("NSpid"), getpid());
    TEST_EQ(proc_number("NSpgid"), getpgrp());
    TEST_EQ(proc_number("NSsid"), getsid(0));
    TEST_EQ(proc_number("PPid"), getppid());
    TEST_EQ(proc_number("Uid"), getuid());
    TEST_EQ(proc_number("Gid"), getgid());
    TEST_EQ(proc_number("Threads"), 1);
    TEST_EQ(proc_number("TracerPid"), 0);
    TEST_STR(proc_field("State"), "R (running)");
    TEST_CHECK(proc_number("VmRSS") > 0 && proc_number("VmRSS") <= proc_number("VmHWM"));
    TEST_CHECK(proc_number("VmSize") >= proc_number("VmRSS") && proc_number("VmSize") <= proc_number("VmPeak"));
    TEST_CHECK(proc_number("RssAnon") + proc_number("RssFile") + proc_number("RssShmem") == proc_number("VmRSS"));
}

FN_TEST(status_shows_signals_and_umask)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    TEST_SUCC(sigprocmask(SIG_SETMASK, &set, &old));
    signal(SIGUSR2, SIG_IGN);
    signal(SIGHUP, exit);
    TEST_SUCC(raise(SIGUSR1));
    mode_t mask = umask(0027);
    TEST_CHECK(proc_read("/proc/self/status") > 0);
    TEST_STR(proc_field("SigBlk"), "0000000000000200");
    TEST_CHECK(strtoull(proc_field("SigIgn"), NULL, 16) & 1ull << (SIGUSR2 - 1));
    TEST_CHECK(strtoull(proc_field("SigCgt"), NULL, 16) & 1ull << (SIGHUP - 1));
    TEST_CHECK((strtoull(proc_field("SigPnd"), NULL, 16) | strtoull(proc_field("ShdPnd"), NULL, 16)) & 0x200);
    TEST_STR(proc_field("Umask"), "0027");
    umask(mask);
    signal(SIGUSR1, SIG_IGN);
    TEST_SUCC(sigprocmask(SIG_SETMASK, &old, NULL));
    signal(SIGHUP, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

FN_TEST(stat_has_52_fields)
{
    TEST_CHECK(proc_read("/proc/self/stat") > 0);
    char *p = strrchr(proc_text, ')') + 2;
    TEST_EQ(strtol(proc_text, NULL, 10), getpid());
    TEST_EQ(*p, 'R');
    long value[60];
    int n = 3;
    for (char *word = strtok(p + 1, " \n"); word; word = strtok(NULL, " \n"))
        value[++n] = strtol(word, NULL, 10);
    TEST_EQ(n, 52);
    TEST_EQ(value[4], getppid());
    TEST_EQ(value[5], getpgrp());
    TEST_EQ(value[6], getsid(0));
    TEST_EQ(value[18], 20);
    TEST_EQ(value[20], 1);
    TEST_EQ(value[38], SIGCHLD);
    TEST_CHECK(value[23] % 4096 == 0 && value[23] > 0);
    TEST_CHECK(value[28] > value[47] && value[46] > value[45]);
    TEST_CHECK(value[48] < value[49] && value[49] <= value[50]);
}

FN_TEST(statm_agrees_with_status)
{
    long size, resident, shared;
    TEST_CHECK(proc_read("/proc/self/statm") > 0);
    TEST_EQ(sscanf(proc_text, "%ld %ld %ld", &size, &resident, &shared), 3);
    TEST_CHECK(proc_read("/proc/self/status") > 0);
    TEST_EQ(proc_number("VmSize"), size * 4);
    TEST_CHECK(labs(proc_number("VmRSS") - resident * 4) < 400);
}

FN_TEST(comm_is_the_name)
{
    char name[16] = "";
    TEST_SUCC(prctl(PR_SET_NAME, "a name of more than fifteen"));
    TEST_CHECK(proc_read("/proc/self/comm") == 16);
    TEST_STR(proc_text, "a name of more \n");
    TEST_EQ(proc_write("/proc/self/comm", "new\nname"), 8);
    TEST_SUCC(prctl(PR_GET_NAME, name));
    TEST_STR(name, "new\nname");
    TEST_CHECK(proc_read("/proc/self/status") > 0);
    TEST_STR(proc_field("Name"), "new\\nname");
    TEST_EQ(proc_write("/proc/self/comm", "12345678901234567890"), 20);
    TEST_CHECK(proc_read("/proc/thread-self/comm") == 16);
    TEST_STR(proc_text, "123456789012345\n");
    TEST_EQ(proc_write("/proc/self/comm", "back\\"), 5);
    TEST_CHECK(proc_read("/proc/self/status") > 0);
    TEST_STR(proc_field("Name"), "back\\\\");
}

FN_TEST(cmdline_and_environ)
{
    long n = proc_read("/proc/self/cmdline");
    TEST_CHECK(n > 0);
    TEST_STR(proc_text, test_argv[0]);
    long expected = 0;
    for (int i = 0; i < test_argc; i++)
        expected += strlen(test_argv[i]) + 1;
    TEST_EQ(n, expected);
    n = proc_read("/proc/self/environ");
    TEST_CHECK(n > 0 && proc_text[n - 1] == 0);
    int found = 0;
    for (char *e = proc_text; e < proc_text + n; e += strlen(e) + 1)
        found |= strncmp(e, "LANG=", 5) == 0;
    TEST_CHECK(found);
}

FN_TEST(auxv_ends_with_null)
{
    long n = proc_read("/proc/self/auxv");
    unsigned long *pair = (unsigned long *)proc_text;
    TEST_CHECK(n >= 160 && n % 16 == 0);
    int pagesize = 0;
    while (pair[0]) {
        pagesize |= pair[0] == 6 && pair[1] == 4096;
        pair += 2;
    }
    TEST_CHECK(pagesize && (char *)pair <= proc_text + n - 16);
}

FN_TEST(links)
{
    char text[4096], cwd[4096], exe[4096];
    ssize_t n = TEST_SUCC(readlink("/proc/self", text, sizeof text));
    text[n] = 0;
    TEST_EQ(atoi(text), getpid());
    n = TEST_SUCC(readlink("/proc/thread-self", text, sizeof text));
    text[n] = 0;
    snprintf(cwd, sizeof cwd, "%d/task/%d", getpid(), getpid());
    TEST_STR(text, cwd);
    n = TEST_SUCC(readlink("/proc/self/cwd", text, sizeof text));
    text[n] = 0;
    TEST_STR(text, getcwd(cwd, sizeof cwd));
    n = TEST_SUCC(readlink("/proc/self/root", text, sizeof text));
    TEST_CHECK(n == 1 && text[0] == '/');
    n = TEST_SUCC(readlink("/proc/self/exe", exe, sizeof exe));
    exe[n] = 0;
    TEST_STR(strrchr(exe, '/'), strrchr(test_argv[0], '/'));
    n = TEST_SUCC(readlink("/proc/mounts", text, sizeof text));
    text[n] = 0;
    TEST_STR(text, "self/mounts");
    TEST_ERRNO(readlink("/proc/self/status", text, sizeof text), EINVAL);
    struct stat a, b;
    TEST_SUCC(stat("/proc/self/exe", &a));
    TEST_SUCC(stat(exe, &b));
    TEST_CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    TEST_SUCC(lstat("/proc/self/exe", &a));
    TEST_CHECK(S_ISLNK(a.st_mode));
    TEST_SUCC(stat("/proc/self/root/proc/self/cwd", &a));
    TEST_CHECK(S_ISDIR(a.st_mode));
}

FN_TEST(fd_directory)
{
    int pipes[2];
    char path[64], target[64], expected[64];
    TEST_SUCC(pipe(pipes));
    struct stat st;
    TEST_SUCC(fstat(pipes[0], &st));
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipes[0]);
    ssize_t n = TEST_SUCC(readlink(path, target, sizeof target));
    target[n] = 0;
    snprintf(expected, sizeof expected, "pipe:[%lu]", (unsigned long)st.st_ino);
    TEST_STR(target, expected);
    TEST_SUCC(lstat(path, &st));
    TEST_EQ(st.st_mode, S_IFLNK | 0500);
    TEST_EQ(st.st_size, 64);
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipes[1]);
    TEST_SUCC(lstat(path, &st));
    TEST_EQ(st.st_mode, S_IFLNK | 0300);
    int again = TEST_SUCC(open(path, O_WRONLY));
    TEST_EQ(write(again, "x", 1), 1);
    char c;
    TEST_EQ(read(pipes[0], &c, 1), 1);
    close(again);
    close(pipes[0]);
    close(pipes[1]);
    TEST_ERRNO(readlink(path, target, sizeof target), ENOENT);
    TEST_ERRNO(open("/proc/self/fd/00", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/self/fd/x", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/self/fd/-1", O_RDONLY), ENOENT);
    DIR *dir = opendir("/proc/self/fd");
    TEST_CHECK(dir);
    int seen = 0, own = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        TEST_EQ(e->d_type, DT_LNK);
        seen++;
        own |= atoi(e->d_name) == dirfd(dir);
    }
    TEST_CHECK(own && seen >= 4);
    closedir(dir);
}

FN_TEST(deleted_file_through_fd)
{
    char path[64], target[256];
    int fd = TEST_SUCC(open("proc-deleted", O_RDWR | O_CREAT | O_TRUNC, 0600));
    TEST_EQ(write(fd, "still", 5), 5);
    TEST_SUCC(unlink("proc-deleted"));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = TEST_SUCC(readlink(path, target, sizeof target));
    target[n] = 0;
    TEST_CHECK(n > 10 && strcmp(target + n - 10, " (deleted)") == 0);
    TEST_CHECK(proc_read(path) == 5);
    TEST_STR(proc_text, "still");
    close(fd);
}

FN_TEST(fdinfo_has_position_and_flags)
{
    char path[64];
    int fd = TEST_SUCC(open("/proc/self/exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    TEST_SUCC(lseek(fd, 1234, SEEK_SET));
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    TEST_CHECK(proc_read(path) > 0);
    TEST_EQ(proc_number("pos"), 1234);
    TEST_EQ(proc_number("flags"), O_CLOEXEC | O_NONBLOCK | 0100000);
    struct stat st;
    TEST_SUCC(fstat(fd, &st));
    TEST_EQ(proc_number("ino"), st.st_ino);
    TEST_CHECK(proc_number("mnt_id") > 0);
    close(fd);
    TEST_RES(proc_read(path), _ret == -1 && _err == ENOENT);
}

static int thread_pipe[2][2];

static void *thread_body(void *unused)
{
    char c = 0;
    (void)unused;
    prctl(PR_SET_NAME, "worker");
    if (write(thread_pipe[0][1], &c, 1) != 1 || read(thread_pipe[1][0], &c, 1) != 1)
        return (void *)1;
    return NULL;
}

static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    TEST_CHECK(dir);
    int count = 0;
    for (struct dirent *e; (e = readdir(dir));)
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

FN_TEST(threads_are_in_task)
{
    char path[64], c;
    pthread_t thread;
    void *result;
    TEST_SUCC(pipe(thread_pipe[0]));
    TEST_SUCC(pipe(thread_pipe[1]));
    TEST_EQ(count_threads(), 1);
    TEST_EQ(pthread_create(&thread, NULL, thread_body, NULL), 0);
    TEST_EQ(read(thread_pipe[0][0], &c, 1), 1);
    TEST_EQ(count_threads(), 2);
    TEST_CHECK(proc_read("/proc/self/status") > 0);
    TEST_EQ(proc_number("Threads"), 2);
    DIR *dir = opendir("/proc/self/task");
    TEST_CHECK(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", e->d_name);
        TEST_CHECK(proc_read(path) == 7);
        TEST_STR(proc_text, "worker\n");
        TEST_EQ(proc_write(path, "renamed"), 7);
        snprintf(path, sizeof path, "/proc/%.20s/status", e->d_name);
        TEST_CHECK(proc_read(path) > 0);
        TEST_STR(proc_field("Name"), "renamed");
        TEST_EQ(proc_number("Tgid"), getpid());
        TEST_EQ(proc_number("Pid"), atoi(e->d_name));
        for (int i = 0; i < 1000 && proc_field("State")[0] == 'R'; i++) {
            usleep(1000);
            TEST_CHECK(proc_read(path) > 0);
        }
        TEST_EQ(proc_field("State")[0], 'S');
    }
    closedir(dir);
    TEST_EQ(write(thread_pipe[1][1], &c, 1), 1);
    TEST_EQ(pthread_join(thread, &result), 0);
    TEST_CHECK(!result);
    for (int i = 0; i < 4; i++)
        close(thread_pipe[i / 2][i % 2]);
    snprintf(path, sizeof path, "/proc/self/task/%d/status", getpid());
    TEST_CHECK(proc_read(path) > 0);
    TEST_EQ(proc_number("Pid"), getpid());
    snprintf(path, sizeof path, "/proc/self/task/%d/task", getpid());
    TEST_ERRNO(open(path, O_RDONLY), ENOENT);
    snprintf(path, sizeof path, "/proc/self/task/%d", getppid());
    TEST_ERRNO(open(path, O_RDONLY), ENOENT);
}

FN_TEST(dead_process_is_gone)
{
    char path[64];
    int go[2];
    TEST_SUCC(pipe(go));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        char c;
        close(go[1]);
        (void)!read(go[0], &c, 1);
        _exit(0);
    }
    close(go[0]);
    snprintf(path, sizeof path, "/proc/%d/status", child);
    int status = TEST_SUCC(open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d", child);
    int dir = TEST_SUCC(open(path, O_RDONLY | O_DIRECTORY));
    TEST_EQ(read(status, proc_text, 5), 5);
    close(go[1]);
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    TEST_SUCC(lseek(status, 0, SEEK_SET));
    TEST_CHECK(read(status, proc_text, sizeof proc_text - 1) > 0);
    TEST_STR(proc_field("State"), "Z (zombie)");
    TEST_CHECK(!proc_field("VmRSS"));
    TEST_EQ(proc_number("Threads"), 1);
    snprintf(path, sizeof path, "/proc/%d/cmdline", child);
    TEST_EQ(proc_read(path), 0);
    snprintf(path, sizeof path, "/proc/%d/statm", child);
    TEST_CHECK(proc_read(path) > 0);
    TEST_STR(proc_text, "0 0 0 0 0 0 0\n");
    snprintf(path, sizeof path, "/proc/%d/exe", child);
    TEST_ERRNO(readlink(path, proc_text, 100), ENOENT);
    snprintf(path, sizeof path, "/proc/%d/cwd", child);
    TEST_ERRNO(readlink(path, proc_text, 100), ENOENT);
    TEST_REAP(child);
    TEST_SUCC(lseek(status, 0, SEEK_SET));
    TEST_ERRNO(read(status, proc_text, 100), ESRCH);
    TEST_ERRNO(openat(dir, "sched", O_RDONLY), ESRCH);
    snprintf(path, sizeof path, "/proc/%d", child);
    TEST_ERRNO(open(path, O_RDONLY), ENOENT);
    close(status);
    close(dir);
}

FN_TEST(no_such_entries)
{
    TEST_ERRNO(open("/proc/0", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/-1", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/99999999", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/99999999999999999999", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/self/nothing", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/nothing", O_RDONLY | O_CREAT, 0600), ENOENT);
    TEST_ERRNO(mkdir("/proc/x", 0700), ENOENT);
    TEST_RES(unlink("/proc/self/status"), _ret == -1 && (_err == EPERM || _err == EACCES));
    TEST_ERRNO(write(TEST_SUCC(open("/proc/self/oom_score_adj", O_RDONLY)), "x", 1), EBADF);
    TEST_ERRNO(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, TEST_SUCC(open("/proc/self/status", O_RDONLY)), 0) == MAP_FAILED
                   ? -1 : 0, ENODEV);
}

FN_TEST(pieces_and_seeking)
{
    char small[8], again[8];
    long whole = proc_read("/proc/self/limits");
    TEST_CHECK(whole > 1000);
    int fd = TEST_SUCC(open("/proc/self/limits", O_RDONLY));
    long total = 0;
    for (long n; (n = TEST_SUCC(read(fd, small, 7))) > 0; total += n)
        TEST_CHECK(memcmp(small, proc_text + total, n) == 0);
    TEST_EQ(total, whole);
    TEST_EQ(pread(fd, again, 5, 3), 5);
    TEST_CHECK(memcmp(again, proc_text + 3, 5) == 0);
    TEST_EQ(lseek(fd, 6, SEEK_SET), 6);
    TEST_EQ(read(fd, again, 5), 5);
    TEST_CHECK(memcmp(again, proc_text + 6, 5) == 0);
    TEST_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    TEST_ERRNO(lseek(fd, 0, SEEK_END), EINVAL);
    struct stat st;
    TEST_SUCC(fstat(fd, &st));
    TEST_CHECK(st.st_size == 0 && st.st_mode == (S_IFREG | 0444) && st.st_blksize == 1024);
    close(fd);
}

FN_TEST(oom_score_adj)
{
    TEST_CHILD({
        TEST_CHECK(proc_read("/proc/self/oom_score_adj") > 0);
        TEST_EQ(proc_write("/proc/self/oom_score_adj", "500\n"), 4);
        TEST_CHECK(proc_read("/proc/self/oom_score_adj") > 0);
        TEST_STR(proc_text, "500\n");
        TEST_CHECK(proc_read("/proc/self/oom_adj") > 0);
        TEST_STR(proc_text, "8\n");
        TEST_RES(proc_write("/proc/self/oom_score_adj", "1001"), _ret == -1 && _err == EINVAL);
        TEST_RES(proc_write("/proc/self/oom_score_adj", "x"), _ret == -1 && _err == EINVAL);
        TEST_EQ(proc_write("/proc/self/oom_score_adj", " 1000 "), 6);
        TEST_CHECK(proc_read("/proc/self/oom_adj") > 0);
        TEST_STR(proc_text, "15\n");
        TEST_CHILD({
            TEST_CHECK(proc_read("/proc/self/oom_score_adj") > 0);
            TEST_STR(proc_text, "1000\n");
        });
    });
}

FN_TEST(fixed_files)
{
    TEST_CHECK(proc_read("/proc/self/loginuid") > 0);
    TEST_CHECK(proc_read("/proc/self/sessionid") > 0);
    TEST_CHECK(proc_read("/proc/self/personality") == 9);
    TEST_STR(proc_text, "00000000\n");
    TEST_CHECK(proc_read("/proc/self/setgroups") > 0);
    TEST_STR(proc_text, "allow\n");
    TEST_CHECK(proc_read("/proc/self/wchan") == 1);
    TEST_STR(proc_text, "0");
    TEST_CHECK(proc_read("/proc/self/timerslack_ns") > 0);
    TEST_STR(proc_text, "50000\n");
    TEST_CHECK(proc_read("/proc/self/syscall") > 0);
    TEST_CHECK(strncmp(proc_text, "0 0x", 4) == 0);
    TEST_RES(proc_read("/proc/self/schedstat"), _ret > 4);
    TEST_RES(proc_read("/proc/self/io"), _ret > 50);
    TEST_CHECK(proc_field("cancelled_write_bytes"));
}

static void *outlive_leader(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        usleep(1000);
        if (proc_read("/proc/self/stat") > 0 && strstr(proc_text, ") Z "))
            break;
    }
    if (proc_read("/proc/self/status") <= 0 || strcmp(proc_field("State"), "Z (zombie)"))
        _exit(1);
    if (proc_number("Threads") != 2 || proc_field("VmRSS"))
        _exit(2);
    if (proc_read("/proc/thread-self/status") <= 0 || strcmp(proc_field("State"), "R (running)"))
        _exit(3);
    if (proc_number("Threads") != 2 || proc_number("VmRSS") <= 0 || proc_number("Pid") == proc_number("Tgid"))
        _exit(4);
    if (readlink("/proc/self/exe", proc_text, 100) != -1 || errno != ENOENT)
        _exit(5);
    if (count_threads() != 2)
        _exit(6);
    if (proc_read("/proc/thread-self/cmdline") <= 0)
        _exit(7);
    _exit(0);
}

FN_TEST(dead_leader)
{
    TEST_CHILD({
        pthread_t thread;
        TEST_EQ(pthread_create(&thread, NULL, outlive_leader, NULL), 0);
        syscall(SYS_exit, 9);
    });
}
