/* poll, ppoll, select and pselect6: readiness, timeouts written back, signal masks, restarts. */
#include "test.h"
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/* The system call: musl's function does not give back the time that is left. */
#define select(...) syscall(SYS_select, __VA_ARGS__)

static volatile int hits;
static void count(int s) { (void)s; hits++; }

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void handle(int signo, int flags)
{
    struct sigaction a = {.sa_handler = count, .sa_flags = flags};
    hits = 0;
    sigaction(signo, &a, NULL);
}

static long raw_ppoll(struct pollfd *p, int n, struct timespec *t, void *mask, long size)
{
    return syscall(SYS_ppoll, p, (long)n, t, mask, size);
}

FN_TEST(what_poll_reports)
{
    int p[2];
    TEST_SUCC(pipe(p));
    struct pollfd f[4] = {{p[0], POLLIN, 99}, {p[1], POLLOUT, 99}, {-1, POLLIN, 99}, {1000, POLLIN, 99}};
    TEST_RES(poll(f, 4, 0), _ret == 2);
    TEST_EQ(f[0].revents, 0);
    TEST_EQ(f[1].revents, POLLOUT);
    TEST_EQ(f[2].revents, 0);
    TEST_EQ(f[3].revents, POLLNVAL);
    TEST_SUCC(write(p[1], "x", 1));
    TEST_RES(poll(f, 2, -1), _ret == 2);
    TEST_EQ(f[0].revents, POLLIN);
}

FN_TEST(files_that_never_block)
{
    int n = TEST_SUCC(open("/dev/null", O_RDWR)), z = TEST_SUCC(open("plain", O_RDWR | O_CREAT, 0600));
    struct pollfd f[2] = {{n, 0x7fff & ~POLLNVAL, 0}, {z, 0x7fff & ~POLLNVAL, 0}};
    TEST_RES(poll(f, 2, -1), _ret == 2);
    TEST_EQ(f[0].revents, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    TEST_EQ(f[1].revents, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    close(n);
    close(z);
    unlink("plain");
}

FN_TEST(timeouts)
{
    long t = now_ms();
    TEST_RES(poll(NULL, 0, 50), _ret == 0);
    TEST_CHECK(now_ms() - t >= 50);
    t = now_ms();
    struct timespec ts = {0, 40000000};
    TEST_RES(ppoll(NULL, 0, &ts, NULL), _ret == 0);
    TEST_CHECK(now_ms() - t >= 40);
    struct timeval tv = {0, 40000};
    t = now_ms();
    TEST_RES(select(0, NULL, NULL, NULL, &tv), _ret == 0);
    TEST_CHECK(now_ms() - t >= 40);
    TEST_EQ(tv.tv_sec, 0);
    TEST_EQ(tv.tv_usec, 0);
}

FN_TEST(bad_arguments)
{
    struct timespec ts = {0, 1000000000};
    struct pollfd f = {0, POLLIN, 0};
    TEST_ERRNO(raw_ppoll(&f, 0, &ts, NULL, 8), EINVAL);
    ts = (struct timespec){-1, 0};
    TEST_ERRNO(raw_ppoll(&f, 0, &ts, NULL, 8), EINVAL);
    ts = (struct timespec){0, 0};
    TEST_ERRNO(raw_ppoll(&f, 0, &ts, &f, 7), EINVAL);
    TEST_ERRNO(raw_ppoll((void *)8, 1, &ts, NULL, 8), EFAULT);
    TEST_ERRNO(raw_ppoll(&f, 0, (void *)8, NULL, 8), EFAULT);
    TEST_ERRNO(raw_ppoll(&f, 0, &ts, (void *)8, 8), EFAULT);
    TEST_ERRNO(syscall(SYS_poll, &f, 5000000L, 0), EINVAL);
    TEST_ERRNO(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    struct timeval tv = {-1, 0};
    TEST_ERRNO(syscall(SYS_select, 0, NULL, NULL, NULL, &tv), EINVAL);
    fd_set r;
    FD_ZERO(&r);
    FD_SET(50, &r);
    tv = (struct timeval){0, 0};
    TEST_ERRNO(select(51, &r, NULL, NULL, &tv), EBADF);
    TEST_ERRNO(syscall(SYS_select, 5, 8L, NULL, NULL, &tv), EFAULT);
}

FN_TEST(select_sets)
{
    int p[2], q[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    fd_set r, w, e;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(p[0], &r);
    FD_SET(q[0], &r);
    FD_SET(p[1], &w);
    FD_SET(p[0], &e);
    TEST_SUCC(write(q[1], "x", 1));
    TEST_RES(select(q[1] + 1, &r, &w, &e, NULL), _ret == 2);
    TEST_CHECK(!FD_ISSET(p[0], &r) && FD_ISSET(q[0], &r) && FD_ISSET(p[1], &w) && !FD_ISSET(p[0], &e));
    close(p[1]);
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    TEST_RES(select(p[0] + 1, &r, NULL, NULL, NULL), _ret == 1);
    int high = TEST_SUCC(fcntl(q[0], F_DUPFD, 300));
    FD_ZERO(&r);
    FD_SET(high, &r);
    struct timeval tv = {5000, 0};
    TEST_RES(select(high + 1, &r, NULL, NULL, &tv), _ret == 1 && FD_ISSET(high, &r));
    TEST_CHECK(tv.tv_sec > 4000 && tv.tv_sec < 5000);
    close(high);
}

FN_TEST(woken_by_another_process)
{
    int p[2];
    TEST_SUCC(pipe(p));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(40);
        TEST_SUCC(write(p[1], "x", 1));
        _exit(0);
    }
    struct pollfd f = {p[0], POLLIN, 0};
    TEST_RES(poll(&f, 1, -1), _ret == 1 && f.revents == POLLIN);
    TEST_REAP(child);
    child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(40);
        _exit(0);
    }
    close(p[1]);
    char c;
    TEST_SUCC(read(p[0], &c, 1));
    TEST_RES(poll(&f, 1, -1), _ret == 1 && f.revents == POLLHUP);
    TEST_REAP(child);
}

FN_TEST(a_signal_ends_them)
{
    handle(SIGALRM, SA_RESTART);
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(poll(NULL, 0, 5000000), EINTR));
    struct timespec ts = {5000, 0};
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(raw_ppoll(NULL, 0, &ts, NULL, 8), EINTR));
    TEST_CHECK(ts.tv_sec > 4000 && ts.tv_sec < 5000);
    struct timeval tv = {5000, 0};
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(select(0, NULL, NULL, NULL, &tv), EINTR));
    TEST_CHECK(tv.tv_sec > 4000 && tv.tv_sec < 5000);
    TEST_EQ(hits, 3);
    signal(SIGALRM, SIG_DFL);
}

FN_TEST(stop_and_continue_do_not)
{
    int p[2];
    TEST_SUCC(pipe(p));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        struct pollfd f = {p[0], POLLIN, 0};
        long t = now_ms();
        TEST_RES(poll(&f, 1, 150), _ret == 0);
        TEST_CHECK(now_ms() - t >= 150);
        fd_set r;
        FD_ZERO(&r);
        FD_SET(p[0], &r);
        struct timeval tv = {0, 150000};
        TEST_RES(select(p[0] + 1, &r, NULL, NULL, &tv), _ret == 0);
        _exit(0);
    }
    /* A parent that is late finds the child gone, which is as good. */
    for (int i = 0; test_state(child, child) != 'Z' && i < 2; i++) {
        test_until_asleep(child, child);
        kill(child, SIGSTOP);
        siginfo_t info;
        TEST_SUCC(waitid(P_PID, child, &info, WSTOPPED | WEXITED | WNOWAIT));
        kill(child, SIGCONT);
        pause_ms(120);
    }
    TEST_REAP(child);
}

FN_TEST(temporary_masks)
{
    sigset_t block, none, old;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    handle(SIGUSR1, 0);
    sigprocmask(SIG_BLOCK, &block, &old);
    raise(SIGUSR1);
    TEST_EQ(hits, 0);
    struct timespec ts = {0, 0};
    TEST_RES(ppoll(NULL, 0, &ts, NULL), _ret == 0);
    TEST_EQ(hits, 0);
    TEST_ERRNO(ppoll(NULL, 0, &ts, &none), EINTR);
    TEST_EQ(hits, 1);
    sigset_t after;
    sigprocmask(SIG_BLOCK, NULL, &after);
    TEST_CHECK(sigismember(&after, SIGUSR1) == 1);
    raise(SIGUSR1);
    ts = (struct timespec){5, 0};
    TEST_ERRNO(pselect(0, NULL, NULL, NULL, &ts, &none), EINTR);
    TEST_EQ(hits, 2);
    /* ready files win: the signal stays pending */
    int p[2];
    TEST_SUCC(pipe(p));
    raise(SIGUSR1);
    struct pollfd f = {p[1], POLLOUT, 0};
    TEST_RES(ppoll(&f, 1, NULL, &none), _ret == 1);
    TEST_EQ(hits, 2);
    sigset_t pending;
    sigpending(&pending);
    TEST_CHECK(sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_SETMASK, &old, NULL);
    TEST_EQ(hits, 3);
    signal(SIGUSR1, SIG_DFL);
}

FN_TEST(time_left_of_a_poll_that_succeeds)
{
    int p[2];
    TEST_SUCC(pipe(p));
    struct pollfd f = {p[1], POLLOUT, 0};
    struct timespec ts = {5000, 0};
    TEST_RES(raw_ppoll(&f, 1, &ts, NULL, 8), _ret == 1);
    TEST_CHECK(ts.tv_sec > 4000 && ts.tv_sec < 5000 && ts.tv_nsec > 0);
    ts = (struct timespec){0, 0};
    TEST_RES(raw_ppoll(&f, 1, &ts, NULL, 8), _ret == 1);
    TEST_CHECK(ts.tv_sec == 0 && ts.tv_nsec == 0);
    /* a timeout in read-only memory is no error */
    struct timespec *ro = TEST_SUCC(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ro->tv_sec = 10;
    mprotect(ro, 4096, PROT_READ);
    TEST_RES(raw_ppoll(&f, 1, ro, NULL, 8), _ret == 1);
    munmap(ro, 4096);
}

FN_TEST(many_descriptors)
{
    enum { N = 200 };
    int p[N][2];
    struct pollfd f[N];
    for (int i = 0; i < N; i++) {
        TEST_SUCC(pipe(p[i]));
        f[i] = (struct pollfd){p[i][0], POLLIN, 0};
    }
    for (int i = 0; i < N; i += 7)
        TEST_SUCC(write(p[i][1], "x", 1));
    TEST_RES(poll(f, N, -1), _ret == (N + 6) / 7);
    for (int i = 0; i < N; i++)
        TEST_EQ(f[i].revents, i % 7 ? 0 : POLLIN);
    for (int i = 0; i < N; i++)
        close(p[i][0]), close(p[i][1]);
}
