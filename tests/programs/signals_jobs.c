/* Stopping and continuing: wait statuses, SIGCHLD, and who ignores what. */
#include "test.h"
#include <pthread.h>

static volatile sig_atomic_t count;
static siginfo_t seen[16];

static void on_info(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    if (count < 16)
        seen[count] = *info;
    count++;
}

static void catch(int signo, int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_info;
    action.sa_flags = SA_SIGINFO | flags;
    TEST_SUCC(sigaction(signo, &action, NULL));
    count = 0;
}

static pid_t sleeper(void)
{
    int p[2];
    char c;
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        signal(SIGCHLD, SIG_DFL);
        write(p[1], "r", 1);
        for (;;)
            pause();
    }
    read(p[0], &c, 1);
    close(p[0]);
    close(p[1]);
    return pid;
}

FN_TEST(stop_continue_kill)
{
    pid_t pid = sleeper();
    int status;
    TEST_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED), 0);
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    TEST_CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    TEST_EQ(waitpid(pid, &status, WNOHANG | WUNTRACED), 0); /* reported once */
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_EQ(waitpid(pid, &status, WCONTINUED), pid);
    TEST_CHECK(WIFCONTINUED(status));
    TEST_EQ(waitpid(pid, &status, WNOHANG | WCONTINUED), 0);
    TEST_SUCC(kill(pid, SIGSTOP));
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT));
    TEST_EQ(info.si_code, CLD_STOPPED);
    TEST_EQ(info.si_status, SIGSTOP);
    TEST_SUCC(waitid(P_PID, pid, &info, WSTOPPED));
    TEST_SUCC(kill(pid, SIGKILL)); /* a stopped process dies too */
    TEST_EQ(test_wait(pid), SIGKILL);
}

FN_TEST(sigchld_for_stops)
{
    sigset_t block, old, wait_mask;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    TEST_SUCC(sigprocmask(SIG_BLOCK, &block, &old));
    wait_mask = old;
    sigdelset(&wait_mask, SIGCHLD);
    catch(SIGCHLD, 0);
    pid_t pid = sleeper();
    TEST_SUCC(kill(pid, SIGSTOP));
    while (count < 1)
        sigsuspend(&wait_mask);
    TEST_EQ(seen[0].si_code, CLD_STOPPED);
    TEST_EQ(seen[0].si_status, SIGSTOP);
    TEST_EQ(seen[0].si_pid, pid);
    TEST_SUCC(kill(pid, SIGCONT));
    while (count < 2)
        sigsuspend(&wait_mask);
    TEST_EQ(seen[1].si_code, CLD_CONTINUED);
    TEST_EQ(seen[1].si_status, SIGCONT);
    TEST_SUCC(kill(pid, SIGTERM));
    while (count < 3)
        sigsuspend(&wait_mask);
    TEST_EQ(seen[2].si_code, CLD_KILLED);
    TEST_EQ(seen[2].si_status, SIGTERM);
    test_wait(pid);
    catch(SIGCHLD, SA_NOCLDSTOP);
    pid = sleeper();
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitpid(pid, NULL, WUNTRACED), pid);
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_EQ(waitpid(pid, NULL, WCONTINUED), pid);
    TEST_SUCC(sigprocmask(SIG_SETMASK, &old, NULL));
    TEST_EQ(count, 0);
    TEST_SUCC(kill(pid, SIGKILL));
    test_wait(pid);
    TEST_EQ(count, 1);
    signal(SIGCHLD, SIG_DFL);
}

FN_TEST(nobody_waits_for_children_of_sigchld_ignorers)
{
    TEST_CHILD({
        signal(SIGCHLD, SIG_IGN);
        pid_t pid = fork();
        if (pid == 0)
            _exit(3);
        TEST_ERRNO(waitpid(pid, NULL, 0), ECHILD);
        signal(SIGCHLD, SIG_DFL);
        catch(SIGCHLD, SA_NOCLDWAIT);
        pid = fork();
        if (pid == 0)
            _exit(3);
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
            ;
        TEST_EQ(errno, ECHILD);
        TEST_EQ(count, 1); /* the signal is sent all the same */
    });
}

FN_TEST(handlers_for_cont_and_tstp)
{
    int p[2];
    char c;
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        setpgid(0, 0);
        catch(SIGCONT, 0);
        write(p[1], "r", 1);
        while (!count)
            usleep(1000);
        catch(SIGTSTP, 0);
        write(p[1], "s", 1);
        while (!count)
            usleep(1000);
        _exit(0);
    }
    read(p[0], &c, 1);
    TEST_SUCC(kill(pid, SIGTSTP)); /* default: stop */
    int status;
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    TEST_EQ(WSTOPSIG(status), SIGTSTP);
    TEST_SUCC(kill(pid, SIGCONT));
    read(p[0], &c, 1);
    TEST_SUCC(kill(pid, SIGTSTP)); /* handled: no stop */
    TEST_REAP(pid);
    close(p[0]), close(p[1]);
}

FN_TEST(cont_and_stop_cancel_each_other)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        sigset_t set, pending;
        sigemptyset(&set);
        sigaddset(&set, SIGCONT);
        sigaddset(&set, SIGTSTP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        kill(getpid(), SIGTSTP);
        sigpending(&pending);
        if (!sigismember(&pending, SIGTSTP))
            _exit(1);
        kill(getpid(), SIGCONT);
        sigpending(&pending);
        if (sigismember(&pending, SIGTSTP) || !sigismember(&pending, SIGCONT))
            _exit(2);
        kill(getpid(), SIGTSTP);
        sigpending(&pending);
        _exit(sigismember(&pending, SIGCONT) ? 3 : 0);
    }
    TEST_REAP(pid);
}

FN_TEST(pending_while_stopped)
{
    pid_t pid = sleeper();
    TEST_SUCC(kill(pid, SIGSTOP));
    TEST_EQ(waitpid(pid, NULL, WUNTRACED), pid);
    TEST_SUCC(kill(pid, SIGTERM)); /* waits for the continuation */
    usleep(20000);
    TEST_EQ(waitpid(pid, NULL, WNOHANG), 0);
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_EQ(test_wait(pid), SIGTERM);
}

static int shared_pipe[2];

static void *spin(void *argument)
{
    char c = 'a' + (long)argument;
    for (;;) {
        write(shared_pipe[1], &c, 1);
        usleep(2000);
    }
    return NULL;
}

FN_TEST(all_threads_stop_and_go_on)
{
    TEST_SUCC(pipe2(shared_pipe, O_NONBLOCK));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        pthread_t threads[3];
        for (long i = 0; i < 3; i++)
            pthread_create(&threads[i], NULL, spin, (void *)i);
        for (;;)
            pause();
    }
    char c;
    for (int seen_all = 0; seen_all != 7;)
        if (read(shared_pipe[0], &c, 1) == 1)
            seen_all |= 1 << (c - 'a');
        else
            usleep(1000);
    TEST_SUCC(kill(pid, SIGSTOP));
    int status;
    TEST_EQ(waitpid(pid, &status, WUNTRACED), pid);
    while (read(shared_pipe[0], &c, 1) == 1)
        ;
    usleep(50000);
    TEST_ERRNO(read(shared_pipe[0], &c, 1), EAGAIN);
    TEST_SUCC(kill(pid, SIGCONT));
    for (int seen_all = 0; seen_all != 7;)
        if (read(shared_pipe[0], &c, 1) == 1)
            seen_all |= 1 << (c - 'a');
        else
            usleep(1000);
    TEST_SUCC(kill(pid, SIGKILL));
    TEST_EQ(test_wait(pid), SIGKILL);
    close(shared_pipe[0]);
    close(shared_pipe[1]);
}

FN_TEST(orphaned_groups_ignore_terminal_stops)
{
    TEST_CHILD({
        /* A session of its own whose parent is elsewhere: orphaned. */
        setsid();
        TEST_SUCC(raise(SIGTSTP));
        TEST_SUCC(raise(SIGTTIN));
        TEST_SUCC(raise(SIGTTOU));
    });
}

FN_TEST(a_vforking_parent_can_be_killed)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        setpgid(0, 0);
        if (vfork() == 0) {
            struct { long s, n; } t = {30, 0};
            syscall(SYS_nanosleep, &t, NULL);
            _exit(0);
        }
        _exit(0);
    }
    setpgid(pid, pid);
    usleep(50000);
    TEST_SUCC(kill(pid, SIGKILL));
    TEST_EQ(test_wait(pid), SIGKILL);
    kill(-pid, SIGKILL);
}

FN_TEST(a_fatal_signal_finds_a_reader_just_woken)
{
    int p[2], q[2];
    char c;
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    for (int i = 0; i < 20; i++) {
        pid_t pid = TEST_SUCC(fork());
        if (pid == 0) {
            write(q[1], "r", 1);
            read(p[0], &c, 1);
            for (;;)
                pause();
        }
        read(q[0], &c, 1);
        usleep(2000);
        /* Woken by the byte, it finds it gone and has a signal to die of. */
        write(p[1], "x", 1);
        fcntl(p[0], F_SETFL, O_NONBLOCK);
        read(p[0], &c, 1);
        fcntl(p[0], F_SETFL, 0);
        TEST_SUCC(kill(pid, i % 2 ? SIGTERM : SIGKILL));
        int status;
        TEST_EQ(waitpid(pid, &status, 0), pid);
        TEST_EQ(status, i % 2 ? SIGTERM : SIGKILL);
    }
    close(p[0]), close(p[1]), close(q[0]), close(q[1]);
}
