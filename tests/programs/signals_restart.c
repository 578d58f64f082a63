/* What a signal does to a call that sleeps: EINTR, restarted, or restarted with the time that is left. */
#include "test.h"
#define FUTEX_WAIT 0 /* musl-gcc has no linux/futex.h */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t count;
static int pipe_fds[2];

static void on_signal(int signo) { (void)signo; count++; }

static void on_signal_write(int signo)
{
    (void)signo;
    count++;
    write(pipe_fds[1], "w", 1);
}

static void catch_with(int signo, void (*handler)(int), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = flags;
    action.sa_handler = handler;
    TEST_SUCC(sigaction(signo, &action, NULL));
    count = 0;
}

/* The block's call is asleep when SIGALRM comes. */
#define ALARMED(...) TEST_SIGNALLED(SIGALRM, __VA_ARGS__)

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long futex(void *address, int op, unsigned value, const struct timespec *timeout, void *other, unsigned value3)
{
    return syscall(SYS_futex, address, op, value, timeout, other, value3);
}

FN_TEST(read_from_a_pipe)
{
    char c;
    TEST_SUCC(pipe(pipe_fds));
    catch_with(SIGALRM, on_signal_write, 0);
    ALARMED(TEST_ERRNO(read(pipe_fds[0], &c, 1), EINTR));
    TEST_EQ(read(pipe_fds[0], &c, 1), 1);
    catch_with(SIGALRM, on_signal_write, SA_RESTART);
    ALARMED(TEST_EQ(read(pipe_fds[0], &c, 1), 1));
    TEST_EQ(count, 1);
    TEST_EQ(c, 'w');
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

FN_TEST(write_to_a_full_pipe)
{
    static char block[70000];
    TEST_SUCC(pipe(pipe_fds));
    catch_with(SIGALRM, on_signal, 0);
    /* What was written before the signal counts. */
    ALARMED(TEST_EQ(write(pipe_fds[1], block, sizeof block), 65536));
    ALARMED(TEST_ERRNO(write(pipe_fds[1], block, 10), EINTR));
    TEST_EQ(count, 2);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

FN_TEST(nanosleep_is_never_restarted_by_a_handler)
{
    struct timespec request = {5000, 0}, left = {0, 0}; /* the host's slack may be left, too */
    catch_with(SIGALRM, on_signal, SA_RESTART);
    ALARMED(TEST_ERRNO(syscall(SYS_nanosleep, &request, &left), EINTR));
    TEST_CHECK(left.tv_sec > 4000 && left.tv_sec <= 5000 && left.tv_nsec > 0);
    left.tv_sec = 77;
    ALARMED(TEST_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &request, &left), EINTR));
    TEST_CHECK(left.tv_sec > 4000 && left.tv_sec <= 5000);
    clock_gettime(CLOCK_MONOTONIC, &request);
    request.tv_sec += 5000;
    left.tv_sec = 77;
    ALARMED(TEST_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &request, &left), EINTR));
    TEST_EQ(left.tv_sec, 77); /* an absolute sleep has no remainder */
    TEST_EQ(count, 3);
}

FN_TEST(sleeping_through_a_stop)
{
    /* No handler runs, so restart_syscall goes on to the same end. */
    int p[2];
    TEST_SUCC(pipe(p));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        struct timespec request = {0, 400000000};
        long start = now_ms();
        write(p[1], "r", 1);
        int r = nanosleep(&request, NULL);
        long took = now_ms() - start;
        _exit(r == 0 && took >= 400 ? 0 : 1);
    }
    char c;
    read(p[0], &c, 1);
    test_until_asleep(pid, pid);
    TEST_SUCC(kill(pid, SIGSTOP));
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, pid, &info, WSTOPPED | WEXITED | WNOWAIT));
    /* A parent that is late finds that it has slept enough. */
    TEST_CHECK(info.si_code == CLD_EXITED || (info.si_code == CLD_STOPPED && info.si_status == SIGSTOP));
    TEST_SUCC(kill(pid, SIGCONT));
    TEST_REAP(pid);
    close(p[0]), close(p[1]);
}

FN_TEST(reading_through_a_stop)
{
    int p[2], q[2];
    char c;
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        write(q[1], "r", 1);
        _exit(read(p[0], &c, 1) == 1 ? 0 : 1);
    }
    read(q[0], &c, 1);
    for (int i = 0; i < 3; i++) {
        test_until_asleep(pid, pid);
        TEST_SUCC(kill(pid, SIGSTOP));
        TEST_EQ(waitpid(pid, NULL, WUNTRACED), pid);
        TEST_SUCC(kill(pid, SIGCONT));
        TEST_EQ(waitpid(pid, NULL, WCONTINUED), pid);
    }
    write(p[1], "x", 1);
    TEST_REAP(pid);
    close(p[0]), close(p[1]), close(q[0]), close(q[1]);
}

FN_TEST(wait4_and_waitid)
{
    char c;
    TEST_SUCC(pipe(pipe_fds));
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) /* lives until a handler has written */
        _exit(read(pipe_fds[0], &c, 1) == 1 ? 0 : 1);
    catch_with(SIGALRM, on_signal, 0);
    ALARMED(TEST_ERRNO(waitpid(pid, NULL, 0), EINTR));
    siginfo_t info;
    ALARMED(TEST_ERRNO(waitid(P_PID, pid, &info, WEXITED), EINTR));
    catch_with(SIGALRM, on_signal_write, SA_RESTART);
    ALARMED(TEST_EQ(waitpid(pid, NULL, 0), pid));
    TEST_EQ(count, 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

FN_TEST(poll_select_epoll)
{
    TEST_SUCC(pipe(pipe_fds));
    struct pollfd fd = {pipe_fds[0], POLLIN, 0};
    catch_with(SIGALRM, on_signal, SA_RESTART); /* makes no difference here */
    ALARMED(TEST_ERRNO(poll(&fd, 1, 5000000), EINTR));
    ALARMED(TEST_ERRNO(poll(&fd, 1, -1), EINTR));
    struct timespec t = {5000, 0};
    ALARMED(TEST_ERRNO(ppoll(&fd, 1, &t, NULL), EINTR));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_fds[0], &set);
    struct timeval tv = {5000, 0};
    ALARMED(TEST_ERRNO(select(pipe_fds[0] + 1, &set, NULL, NULL, &tv), EINTR));
    int ep = TEST_SUCC(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    TEST_SUCC(epoll_ctl(ep, EPOLL_CTL_ADD, pipe_fds[0], &event));
    ALARMED(TEST_ERRNO(epoll_wait(ep, &event, 1, 5000000), EINTR));
    TEST_EQ(count, 5);
    close(ep);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

FN_TEST(masks_of_ppoll_and_pselect)
{
    sigset_t block, none, now;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigemptyset(&none);
    catch_with(SIGUSR1, on_signal, 0);
    TEST_SUCC(sigprocmask(SIG_BLOCK, &block, NULL));
    raise(SIGUSR1);
    TEST_EQ(count, 0);
    struct timespec t = {5000, 0};
    TEST_ERRNO(ppoll(NULL, 0, &t, &none), EINTR);
    TEST_EQ(count, 1);
    sigprocmask(SIG_SETMASK, NULL, &now);
    TEST_CHECK(sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    TEST_ERRNO(pselect(0, NULL, NULL, NULL, &t, &none), EINTR);
    TEST_EQ(count, 2);
    /* Ready at once: the call succeeds, and the signal stays pending under the old mask. */
    TEST_SUCC(pipe(pipe_fds));
    write(pipe_fds[1], "x", 1);
    raise(SIGUSR1);
    struct pollfd fd = {pipe_fds[0], POLLIN, 0};
    TEST_EQ(ppoll(&fd, 1, &t, &none), 1);
    TEST_EQ(count, 2);
    t.tv_sec = 0;
    TEST_EQ(ppoll(NULL, 0, &t, &block), 0);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    TEST_EQ(count, 3);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static unsigned word;

static void on_signal_wake(int signo)
{
    (void)signo;
    count++;
    word = 1;
}

FN_TEST(futex_wait)
{
    word = 0;
    catch_with(SIGALRM, on_signal, 0);
    ALARMED(TEST_ERRNO(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0), EINTR));
    struct timespec t = {5000, 0};
    ALARMED(TEST_ERRNO(futex(&word, FUTEX_WAIT, 0, &t, NULL, 0), EINTR));
    catch_with(SIGALRM, on_signal_wake, SA_RESTART);
    /* Restarted, it finds another value. */
    ALARMED(TEST_ERRNO(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN));
    word = 0;
    /* With a timeout it is a restart block: EINTR whatever the flags. */
    ALARMED(TEST_ERRNO(futex(&word, FUTEX_WAIT, 0, &t, NULL, 0), EINTR));
}

FN_TEST(pause_and_friends)
{
    catch_with(SIGALRM, on_signal, SA_RESTART);
    ALARMED(TEST_ERRNO(pause(), EINTR));
    sigset_t none;
    sigemptyset(&none);
    ALARMED(TEST_ERRNO(sigsuspend(&none), EINTR));
    TEST_EQ(count, 2);
}

FN_TEST(restart_syscall_by_hand)
{
    TEST_ERRNO(syscall(SYS_restart_syscall), EINTR);
}

FN_TEST(opening_a_fifo)
{
    char name[] = "/tmp/signals_restart_fifo_XXXXXX";
    int fd = TEST_SUCC(mkstemp(name));
    close(fd);
    unlink(name);
    TEST_SUCC(mkfifo(name, 0600));
    catch_with(SIGALRM, on_signal, 0);
    ALARMED(TEST_ERRNO(open(name, O_RDONLY), EINTR));
    TEST_EQ(count, 1);
    unlink(name);
}

FN_TEST(ignored_signals_interrupt_nothing)
{
    char c;
    TEST_SUCC(pipe(pipe_fds));
    signal(SIGUSR1, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        for (int i = 0; i < 5; i++) {
            kill(getppid(), SIGUSR1);
            kill(getppid(), SIGWINCH);
            usleep(2000);
        }
        if (fork() == 0)
            _exit(0);
        wait(NULL);
        write(pipe_fds[1], "x", 1);
        _exit(0);
    }
    TEST_EQ(read(pipe_fds[0], &c, 1), 1);
    TEST_REAP(pid);
    signal(SIGUSR1, SIG_DFL);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}
