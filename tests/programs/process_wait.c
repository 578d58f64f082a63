/* wait4, waitid, SIGCHLD, zombies, re-parenting, exit: who is told what of an ended or stopped child. */
#include "test.h"
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

static void rest_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

static pid_t child_that_exits(int code)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        _exit(code);
    return pid;
}

static pid_t child_that_pauses(void)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

FN_TEST(status_of_exit)
{
    static const int codes[] = {0, 1, 42, 127, 128, 255, 256, 257, -1};
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
        int status = 0x5a5a5a5a;
        pid_t pid = child_that_exits(codes[i]);
        TEST_EQ(waitpid(pid, &status, 0), pid);
        TEST_EQ(status, (codes[i] & 0xff) << 8);
    }
}

FN_TEST(status_of_a_signal)
{
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGPIPE, SIGALRM, 34, 64};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        int status;
        pid_t pid = child_that_pauses();
        TEST_SUCC(kill(pid, signals[i]));
        TEST_EQ(waitpid(pid, &status, 0), pid);
        TEST_EQ(status & 0x7f, signals[i]);
        TEST_CHECK(WIFSIGNALED(status));
    }
}

FN_TEST(no_child)
{
    int status = 77;
    siginfo_t info;
    TEST_ERRNO(wait(NULL), ECHILD);
    TEST_ERRNO(waitpid(-1, &status, WNOHANG), ECHILD);
    TEST_ERRNO(waitpid(getpid(), &status, 0), ECHILD);
    TEST_ERRNO(waitpid(1, &status, 0), ECHILD);
    TEST_ERRNO(waitpid(0, &status, 0), ECHILD);
    TEST_ERRNO(waitpid(-99999, &status, 0), ECHILD);
    TEST_EQ(status, 77);
    memset(&info, 0xff, sizeof info);
    TEST_ERRNO(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
    TEST_EQ(info.si_signo, 0);
    TEST_EQ(info.si_pid, 0);
}

FN_TEST(bad_arguments)
{
    siginfo_t info;
    TEST_ERRNO(waitpid(-1, NULL, 0x100), EINVAL);
    TEST_ERRNO(waitpid(-1, NULL, WEXITED), EINVAL);
    TEST_ERRNO(waitpid(-1, NULL, WNOWAIT), EINVAL);
    TEST_ERRNO(waitpid(1 << 31, NULL, 0), ESRCH);
    TEST_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);
    TEST_ERRNO(waitid(P_ALL, 0, &info, WNOHANG), EINVAL);
    TEST_ERRNO(waitid(P_ALL, 0, &info, WEXITED | 0x100), EINVAL);
    TEST_ERRNO(waitid(P_PID, 0, &info, WEXITED), EINVAL);
    TEST_ERRNO(waitid(P_PID, -1, &info, WEXITED), EINVAL);
    TEST_ERRNO(waitid(P_PGID, -1, &info, WEXITED), EINVAL);
    TEST_ERRNO(waitid(77, 0, &info, WEXITED), EINVAL);
    pid_t pid = child_that_exits(3);
    TEST_ERRNO(waitid(P_PID, pid, (siginfo_t *)8, WEXITED | WNOWAIT), EFAULT);
    TEST_ERRNO(syscall(SYS_wait4, pid, (int *)8, 0, NULL), EFAULT);
    TEST_ERRNO(waitpid(pid, NULL, 0), ECHILD); /* it was reaped all the same */
}

FN_TEST(nohang)
{
    int status = 77;
    siginfo_t info;
    pid_t pid = child_that_pauses();
    TEST_EQ(waitpid(pid, &status, WNOHANG), 0);
    TEST_EQ(status, 77);
    memset(&info, 0xff, sizeof info);
    TEST_EQ(waitid(P_PID, pid, &info, WEXITED | WNOHANG), 0);
    TEST_EQ(info.si_signo, 0);
    TEST_EQ(info.si_pid, 0);
    TEST_SUCC(kill(pid, SIGKILL));
    while (waitpid(pid, &status, WNOHANG) == 0)
        rest_ms(1);
    TEST_EQ(status, SIGKILL);
}

FN_TEST(waitid_tells)
{
    siginfo_t info;
    struct rusage usage;
    pid_t pid = child_that_exits(9);
    memset(&info, 0xff, sizeof info);
    TEST_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
    TEST_EQ(info.si_signo, SIGCHLD);
    TEST_EQ(info.si_errno, 0);
    TEST_EQ(info.si_code, CLD_EXITED);
    TEST_EQ(info.si_pid, pid);
    TEST_EQ(info.si_uid, getuid());
    TEST_EQ(info.si_status, 9);
    TEST_SUCC(kill(pid, 0)); /* a zombie is still there */
    memset(&info, 0, sizeof info);
    TEST_EQ(syscall(SYS_waitid, P_PGID, 0, &info, WEXITED, &usage), 0);
    TEST_EQ(info.si_pid, pid);
    TEST_ERRNO(kill(pid, 0), ESRCH);
    pid = child_that_pauses();
    TEST_SUCC(kill(pid, SIGTERM));
    TEST_EQ(waitid(P_ALL, 0, &info, WEXITED), 0);
    TEST_EQ(info.si_code, CLD_KILLED);
    TEST_EQ(info.si_status, SIGTERM);
}

FN_TEST(zombies_only_with_wexited)
{
    siginfo_t info;
    pid_t pid = child_that_exits(1);
    TEST_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
    TEST_ERRNO(waitid(P_PID, pid, &info, WSTOPPED), ECHILD);
    TEST_ERRNO(waitid(P_PID, pid, &info, WCONTINUED | WNOHANG), ECHILD);
    TEST_EQ(test_wait(pid), 0x100);
}

FN_TEST(stop_and_continue)
{
    int status;
    siginfo_t info;
    pid_t pid = child_that_pauses();
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    TEST_EQ(status, SIGSTOP << 8 | 0x7f);
    TEST_EQ(waitpid(pid, &status, WUNTRACED | WNOHANG), 0); /* told once */
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_EQ(waitpid(pid, &status, WCONTINUED), pid);
    TEST_EQ(status, 0xffff);
    TEST_EQ(waitpid(pid, &status, WCONTINUED | WNOHANG), 0);
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
    TEST_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
    TEST_EQ(info.si_signo, SIGCHLD);
    TEST_EQ(info.si_code, CLD_STOPPED);
    TEST_EQ(info.si_status, SIGSTOP);
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_EQ(waitid(P_PID, pid, &info, WCONTINUED), 0);
    TEST_EQ(info.si_code, CLD_CONTINUED);
    TEST_EQ(info.si_status, SIGCONT);
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_SUCC(kill(pid, SIGKILL)); /* ends a stopped one too */
    TEST_EQ(waitpid(pid, &status, 0), pid);
    TEST_EQ(status, SIGKILL);
}

FN_TEST(by_process_group)
{
    int status;
    pid_t a = child_that_pauses(), b = child_that_pauses();
    TEST_SUCC(setpgid(a, a));
    TEST_SUCC(setpgid(b, a));
    TEST_EQ(waitpid(-a, &status, WNOHANG), 0);
    TEST_ERRNO(waitpid(0, &status, WNOHANG), ECHILD);
    TEST_SUCC(kill(-a, SIGTERM));
    pid_t first = TEST_SUCC(waitpid(-a, &status, 0)), second = TEST_SUCC(waitpid(-a, &status, 0));
    TEST_CHECK((first == a && second == b) || (first == b && second == a));
    TEST_ERRNO(waitpid(-a, &status, 0), ECHILD);
}

static volatile sig_atomic_t chld_count;
static siginfo_t chld_info;
static void on_chld(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    chld_count++;
    chld_info = *info;
}

static void catch_chld(int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_chld;
    action.sa_flags = SA_SIGINFO | flags;
    chld_count = 0;
    TEST_SUCC(sigaction(SIGCHLD, &action, NULL));
}

FN_TEST(sigchld_tells)
{
    catch_chld(0);
    pid_t pid = child_that_exits(5);
    while (!chld_count)
        rest_ms(1);
    TEST_EQ(chld_info.si_code, CLD_EXITED);
    TEST_EQ(chld_info.si_pid, pid);
    TEST_EQ(chld_info.si_uid, getuid());
    TEST_EQ(chld_info.si_status, 5);
    TEST_EQ(test_wait(pid), 0x500);
    pid = child_that_pauses();
    chld_count = 0;
    TEST_SUCC(kill(pid, SIGSTOP));
    while (chld_count < 1)
        rest_ms(1);
    TEST_EQ(chld_info.si_code, CLD_STOPPED);
    TEST_EQ(chld_info.si_status, SIGSTOP);
    TEST_SUCC(kill(pid, SIGCONT));
    while (chld_info.si_code != CLD_CONTINUED)
        rest_ms(1);
    TEST_EQ(chld_info.si_code, CLD_CONTINUED);
    TEST_SUCC(kill(pid, SIGHUP));
    TEST_EQ(test_wait(pid), SIGHUP);
    TEST_EQ(chld_info.si_code, CLD_KILLED);
    TEST_EQ(chld_info.si_status, SIGHUP);
    signal(SIGCHLD, SIG_DFL);
}

FN_TEST(nocldstop)
{
    int status;
    catch_chld(SA_NOCLDSTOP);
    pid_t pid = child_that_pauses();
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    TEST_EQ(chld_count, 0);
    TEST_SUCC(kill(pid, SIGKILL));
    test_wait(pid);
    TEST_EQ(chld_count, 1);
    signal(SIGCHLD, SIG_DFL);
}

FN_TEST(ignored_children_are_reaped)
{
    int status = 77;
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = child_that_exits(0);
    TEST_ERRNO(waitpid(pid, &status, 0), ECHILD); /* waits for the end, then finds nobody */
    TEST_ERRNO(kill(pid, 0), ESRCH);
    TEST_EQ(status, 77);
    signal(SIGCHLD, SIG_DFL);
    catch_chld(SA_NOCLDWAIT);
    pid = child_that_exits(0);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        ;
    TEST_ERRNO(waitpid(pid, &status, 0), ECHILD);
    TEST_EQ(chld_count, 1);
    signal(SIGCHLD, SIG_DFL);
}

FN_TEST(interrupted_wait)
{
    struct sigaction action;
    pid_t pid = child_that_pauses();
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_chld;
    TEST_SUCC(sigaction(SIGALRM, &action, NULL));
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(waitpid(pid, NULL, 0), EINTR));
    TEST_SUCC(kill(pid, SIGKILL));
    test_wait(pid);
    signal(SIGALRM, SIG_DFL);
}

FN_TEST(orphans_change_parent)
{
    int p[2];
    pid_t seen[2] = {0, 0};
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent)
                rest_ms(1);
            seen[0] = getpid(), seen[1] = getppid();
            TEST_SUCC(write(p[1], seen, sizeof seen));
            _exit(0);
        }
        _exit(0);
    }
    TEST_REAP(pid);
    TEST_EQ(read(p[0], seen, sizeof seen), (long)sizeof seen);
    TEST_CHECK(seen[1] != pid && seen[1] != getpid());
    close(p[0]), close(p[1]);
    TEST_ERRNO(wait(NULL), ECHILD);
}

FN_TEST(subreaper)
{
    int p[2];
    pid_t grandchild = 0;
    TEST_SUCC(pipe(p));
    TEST_SUCC(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        pid_t own = getpid();
        grandchild = fork();
        if (grandchild == 0) {
            while (getppid() == own)
                rest_ms(1);
            _exit(17);
        }
        TEST_SUCC(write(p[1], &grandchild, sizeof grandchild));
        _exit(0);
    }
    TEST_REAP(pid);
    TEST_EQ(read(p[0], &grandchild, sizeof grandchild), (long)sizeof grandchild);
    TEST_EQ(test_wait(grandchild), 17 << 8);
    TEST_SUCC(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
    close(p[0]), close(p[1]);
}

FN_TEST(parent_death_signal)
{
    int p[2];
    char c;
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        if (fork() == 0) {
            TEST_SUCC(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
            TEST_SUCC(write(p[1], "r", 1));
            for (;;)
                pause();
        }
        TEST_EQ(read(p[0], &c, 1), 1);
        _exit(0);
    }
    close(p[1]);
    TEST_REAP(pid);
    TEST_EQ(read(p[0], &c, 1), 0); /* the grandchild is gone too */
    close(p[0]);
}

FN_TEST(usage_of_children)
{
    struct rusage before, after, usage;
    TEST_SUCC(getrusage(RUSAGE_CHILDREN, &before));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        struct timespec t;
        do
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        while (t.tv_sec == 0 && t.tv_nsec < 60000000);
        _exit(0);
    }
    int status;
    TEST_EQ(wait4(pid, &status, 0, &usage), pid);
    long used_ms = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000
                   + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    TEST_CHECK(used_ms >= 50);
    TEST_SUCC(getrusage(RUSAGE_CHILDREN, &after));
    long more_ms = (after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec)
                       * 1000
                   + (after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec
                      - before.ru_stime.tv_usec) / 1000;
    TEST_CHECK(more_ms >= 45);
}

FN_TEST(many_zombies)
{
    enum { N = 90 }; /* 99 is the status of a failed check */
    pid_t pids[N];
    for (int i = 0; i < N; i++)
        pids[i] = child_that_exits(i);
    for (int i = N - 1; i >= 0; i -= 2)
        TEST_EQ(test_wait(pids[i]), i << 8);
    int left = 0, sum = 0, status;
    while (wait(&status) > 0)
        left++, sum += status >> 8;
    TEST_EQ(errno, ECHILD);
    TEST_EQ(left, N / 2);
    TEST_EQ(sum, (0 + N - 2) * (N / 2) / 2);
}

static void *leave_process_later(void *code)
{
    rest_ms(30);
    if (code)
        syscall(SYS_exit_group, (int)(long)code);
    return NULL;
}

FN_TEST(leader_ends_first)
{
    /* The thread that goes on keeps the process alive; the leader's code counts unless somebody calls exit_group. */
    for (long code = 0; code <= 7; code += 7) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, leave_process_later, (void *)code);
            syscall(SYS_exit, 5);
        }
        TEST_EQ(waitpid(pid, NULL, WNOHANG), 0);
        int status = test_wait(pid);
        TEST_EQ(status, code ? code << 8 : 0);
    }
}

static void *wait_forever(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

FN_TEST(exit_group_ends_all_threads)
{
    for (int way = 0; way < 3; way++) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            pthread_t threads[5];
            for (int i = 0; i < 5; i++)
                pthread_create(&threads[i], NULL, wait_forever, NULL);
            rest_ms(5);
            if (way == 0)
                _exit(12);
            if (way == 1)
                kill(getpid(), SIGTERM);
            pthread_t last;
            pthread_create(&last, NULL, leave_process_later, (void *)12L);
            syscall(SYS_exit, 0);
        }
        TEST_EQ(test_wait(pid), way == 1 ? SIGTERM : 12 << 8);
    }
}

static pid_t started;
static void *start_a_child(void *unused)
{
    (void)unused;
    started = child_that_exits(33);
    return NULL;
}

FN_TEST(threads_share_children)
{
    pthread_t thread;
    TEST_EQ(pthread_create(&thread, NULL, start_a_child, NULL), 0);
    pthread_join(thread, NULL);
    TEST_EQ(test_wait(started), 33 << 8);
    pid_t own = child_that_exits(4);
    TEST_EQ(waitpid(own, NULL, __WNOTHREAD), own);
}

FN_TEST(clone_children)
{
    /* A child that sends no SIGCHLD is waited for with __WCLONE or __WALL only. */
    pid_t pid = TEST_SUCC(syscall(SYS_clone, SIGUSR2, 0, 0, 0, 0));
    if (pid == 0)
        _exit(2);
    signal(SIGUSR2, SIG_IGN);
    TEST_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    TEST_EQ(waitpid(pid, NULL, __WCLONE), pid);
    pid = TEST_SUCC(syscall(SYS_clone, 0, 0, 0, 0, 0));
    if (pid == 0)
        _exit(2);
    TEST_ERRNO(waitpid(pid, NULL, 0), ECHILD);
    TEST_EQ(waitpid(pid, NULL, __WALL), pid);
    pid = child_that_exits(0);
    TEST_ERRNO(waitpid(pid, NULL, __WCLONE), ECHILD);
    TEST_EQ(waitpid(pid, NULL, __WALL), pid);
    signal(SIGUSR2, SIG_DFL);
}

