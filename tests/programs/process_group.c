/* Process groups and sessions: setpgid, getpgid, setsid, getsid, orphaned groups. */
#include "test.h"
#include <time.h>

static pid_t child_that_pauses(void)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void end(pid_t pid)
{
    TEST_SUCC(kill(pid, SIGKILL));
    test_wait(pid);
}

FN_TEST(own_group)
{
    TEST_EQ(getpgrp(), getpgid(0));
    TEST_EQ(getpgid(getpid()), getpgrp());
    TEST_CHILD({
        TEST_EQ(getpgrp(), getpgid(getppid()));
        TEST_SUCC(setpgid(0, 0));
        TEST_EQ(getpgrp(), getpid());
        TEST_SUCC(setpgid(0, 0));
        TEST_SUCC(setpgid(getpid(), getpid()));
        TEST_SUCC(setpgid(0, getpgid(getppid())));
        TEST_EQ(getpgrp(), getpgid(getppid()));
    });
}

FN_TEST(errors)
{
    TEST_ERRNO(setpgid(0, -1), EINVAL);
    TEST_ERRNO(setpgid(-1, 0), EINVAL);
    TEST_ERRNO(setpgid(-1, 1), ESRCH);
    TEST_ERRNO(setpgid(99999999, 0), ESRCH);
    TEST_ERRNO(getpgid(-1), ESRCH);
    TEST_ERRNO(getpgid(99999999), ESRCH);
    TEST_ERRNO(getsid(-1), ESRCH);
    TEST_ERRNO(getsid(99999999), ESRCH);
    TEST_CHILD({ TEST_ERRNO(setpgid(getppid(), 0), ESRCH); }); /* neither itself nor a child */
    TEST_CHILD({ TEST_ERRNO(setpgid(0, 99999999), EPERM); });
}

FN_TEST(children)
{
    pid_t a = child_that_pauses(), b = child_that_pauses();
    TEST_SUCC(setpgid(a, 0));
    TEST_EQ(getpgid(a), a);
    TEST_SUCC(setpgid(b, a));
    TEST_EQ(getpgid(b), a);
    TEST_ERRNO(setpgid(b, b + 100000), EPERM);
    TEST_SUCC(setpgid(b, getpgrp()));
    end(a);
    TEST_ERRNO(setpgid(b, a), EPERM); /* that group is no more */
    end(b);
    TEST_ERRNO(setpgid(b, 0), ESRCH);
}

FN_TEST(zombies_keep_their_group)
{
    siginfo_t info;
    pid_t a = child_that_pauses(), b = child_that_pauses();
    TEST_SUCC(setpgid(a, a));
    TEST_SUCC(kill(a, SIGKILL));
    TEST_SUCC(waitid(P_PID, a, &info, WEXITED | WNOWAIT));
    TEST_EQ(getpgid(a), a);
    TEST_SUCC(setpgid(b, a));
    test_wait(a);
    TEST_EQ(getpgid(b), a);
    end(b);
}

FN_TEST(not_after_exec)
{
    int p[2];
    char c;
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        dup2(p[1], 1);
        close(p[0]);
        close(p[1]);
        execl("/bin/sh", "sh", "-c", "echo x; read y", NULL);
        _exit(1);
    }
    close(p[1]);
    TEST_EQ(read(p[0], &c, 1), 1);
    TEST_ERRNO(setpgid(pid, pid), EACCES);
    close(p[0]);
    kill(pid, SIGKILL);
    test_wait(pid);
}

FN_TEST(sessions)
{
    TEST_EQ(getsid(0), getsid(getpid()));
    pid_t session = getsid(0);
    TEST_CHILD({
        TEST_EQ(getsid(0), session);
        TEST_EQ(setsid(), getpid());
        TEST_EQ(getsid(0), getpid());
        TEST_EQ(getpgrp(), getpid());
        TEST_ERRNO(setsid(), EPERM);
        TEST_ERRNO(setpgid(0, 0), EPERM);
        TEST_ERRNO(setpgid(0, getpgid(getppid())), EPERM);
        TEST_CHILD({ TEST_EQ(getsid(0), getsid(getppid())); TEST_SUCC(setpgid(0, 0)); TEST_ERRNO(setsid(), EPERM); });
    });
    pid_t pid = TEST_SUCC(fork());
    int p[2];
    (void)p;
    if (pid == 0) {
        setsid();
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    TEST_EQ(getsid(pid), pid);
    TEST_ERRNO(setpgid(pid, getpgrp()), EPERM);
    TEST_SUCC(kill(pid, SIGCONT));
    test_wait(pid);
}

FN_TEST(signals_to_a_group)
{
    pid_t a = child_that_pauses(), b = child_that_pauses(), c = child_that_pauses();
    TEST_SUCC(setpgid(a, a));
    TEST_SUCC(setpgid(b, a));
    TEST_SUCC(killpg(a, SIGTERM));
    TEST_EQ(test_wait(a), SIGTERM);
    TEST_EQ(test_wait(b), SIGTERM);
    TEST_EQ(waitpid(c, NULL, WNOHANG), 0);
    TEST_ERRNO(killpg(a, 0), ESRCH);
    end(c);
}

static volatile sig_atomic_t hung_up, continued;
static void on_hup(int signo)
{
    if (signo == SIGHUP)
        hung_up = 1;
    else
        continued = 1;
}

FN_TEST(orphaned_group_is_hung_up)
{
    /* A stopped job whose shell ends gets SIGHUP and SIGCONT. */
    int p[2];
    char c = 0;
    TEST_SUCC(pipe(p));
    pid_t shell = TEST_SUCC(fork());
    if (shell == 0) {
        setsid();
        pid_t job = fork();
        if (job == 0) {
            setpgid(0, 0);
            signal(SIGHUP, on_hup);
            signal(SIGCONT, on_hup);
            raise(SIGSTOP);
            while (!hung_up || !continued) {
                struct timespec t = {0, 1000000};
                nanosleep(&t, NULL);
            }
            TEST_SUCC(write(p[1], "h", 1));
            _exit(0);
        }
        int status;
        waitpid(job, &status, WUNTRACED);
        _exit(WIFSTOPPED(status) ? 0 : 1);
    }
    TEST_REAP(shell);
    TEST_EQ(read(p[0], &c, 1), 1);
    TEST_EQ(c, 'h');
    close(p[0]), close(p[1]);
}
