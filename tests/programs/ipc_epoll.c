/* epoll: level and edge triggering, one-shot, nesting, errors, files that go away. */
#include "test.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

static struct epoll_event ev[16];

static int wait_now(int e) { return epoll_wait(e, ev, 16, 0); }

static int add(int e, int fd, unsigned events)
{
    struct epoll_event x = {.events = events, .data.u64 = 0x100000000ULL + fd};
    return epoll_ctl(e, EPOLL_CTL_ADD, fd, &x);
}

static int mod(int e, int fd, unsigned events)
{
    struct epoll_event x = {.events = events, .data.u64 = 0x100000000ULL + fd};
    return epoll_ctl(e, EPOLL_CTL_MOD, fd, &x);
}

static int put(int fd, const char *s) { return write(fd, s, strlen(s)); }

static void take(int fd, int n)
{
    char b[64];
    TEST_SUCC(read(fd, b, n));
}

FN_TEST(level_triggered)
{
    int e = TEST_SUCC(epoll_create1(EPOLL_CLOEXEC)), p[2];
    TEST_SUCC(pipe(p));
    TEST_EQ(fcntl(e, F_GETFD), FD_CLOEXEC);
    TEST_SUCC(add(e, p[0], EPOLLIN));
    TEST_EQ(wait_now(e), 0);
    put(p[1], "abc");
    for (int i = 0; i < 3; i++) {
        TEST_EQ(wait_now(e), 1);
        TEST_EQ(ev[0].events, EPOLLIN);
        TEST_EQ(ev[0].data.u64, 0x100000000ULL + p[0]);
    }
    take(p[0], 3);
    TEST_EQ(wait_now(e), 0);
    close(p[1]);
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLHUP);
    close(p[0]);
    TEST_EQ(wait_now(e), 0);
    close(e);
}

FN_TEST(edge_triggered)
{
    int e = TEST_SUCC(epoll_create1(0)), p[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(add(e, p[0], EPOLLIN | EPOLLET));
    put(p[1], "abc");
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(wait_now(e), 0);
    put(p[1], "d"); /* every write is an edge */
    TEST_EQ(wait_now(e), 1);
    take(p[0], 1);
    TEST_EQ(wait_now(e), 0);
    TEST_SUCC(mod(e, p[0], EPOLLIN | EPOLLET)); /* asks again */
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(wait_now(e), 0);
    close(p[1]);
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN | EPOLLHUP);
    TEST_EQ(wait_now(e), 0);
}

FN_TEST(edge_triggered_output)
{
    int e = TEST_SUCC(epoll_create1(0)), p[2];
    static char page[4096];
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    TEST_SUCC(add(e, p[1], EPOLLOUT | EPOLLET));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(wait_now(e), 0);
    while (write(p[1], page, 4096) > 0)
        ;
    TEST_EQ(wait_now(e), 0);
    TEST_SUCC(read(p[0], page, 4096));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLOUT);
}

FN_TEST(one_shot)
{
    int e = TEST_SUCC(epoll_create1(0)), f = TEST_SUCC(eventfd(1, 0));
    TEST_SUCC(add(e, f, EPOLLIN | EPOLLONESHOT));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(wait_now(e), 0);
    uint64_t one = 1;
    TEST_SUCC(write(f, &one, 8));
    TEST_EQ(wait_now(e), 0);
    TEST_SUCC(mod(e, f, EPOLLIN | EPOLLONESHOT));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(wait_now(e), 0);
    TEST_SUCC(mod(e, f, EPOLLIN | EPOLLOUT));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN | EPOLLOUT);
}

FN_TEST(errors)
{
    int e = TEST_SUCC(epoll_create1(0)), p[2], q[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    TEST_ERRNO(syscall(SYS_epoll_create, 0), EINVAL); /* musl ignores the size */
    TEST_ERRNO(epoll_create1(1), EINVAL);
    TEST_ERRNO(add(e, e, EPOLLIN), EINVAL);
    TEST_ERRNO(add(p[0], p[0], EPOLLIN), EINVAL);
    TEST_ERRNO(add(p[0], q[0], EPOLLIN), EINVAL);
    TEST_ERRNO(add(e, 999, EPOLLIN), EBADF);
    TEST_ERRNO(add(999, p[0], EPOLLIN), EBADF);
    TEST_SUCC(add(e, p[0], EPOLLIN));
    TEST_ERRNO(add(e, p[0], EPOLLIN), EEXIST);
    TEST_ERRNO(mod(e, p[1], EPOLLIN), ENOENT);
    TEST_ERRNO(epoll_ctl(e, EPOLL_CTL_DEL, p[1], NULL), ENOENT);
    TEST_ERRNO(epoll_ctl(e, 4, p[0], ev), EINVAL);
    TEST_ERRNO(syscall(SYS_epoll_ctl, e, EPOLL_CTL_ADD, p[1], 8L), EFAULT);
    TEST_ERRNO(epoll_wait(e, ev, 0, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_epoll_wait, e, ev, -1, 0), EINVAL);
    TEST_ERRNO(epoll_wait(p[0], ev, 1, 0), EINVAL);
    TEST_ERRNO(epoll_wait(999, ev, 1, 0), EBADF);
    int file = TEST_SUCC(open("plain", O_RDWR | O_CREAT, 0600));
    TEST_ERRNO(add(e, file, EPOLLIN), EPERM);
    int dir = TEST_SUCC(open(".", O_RDONLY));
    TEST_ERRNO(add(e, dir, EPOLLIN), EPERM);
    int null = TEST_SUCC(open("/dev/null", O_RDWR));
    TEST_ERRNO(add(e, null, EPOLLIN), EPERM);
    unlink("plain");
    put(p[1], "x");
    TEST_ERRNO(syscall(SYS_epoll_wait, e, 8L, 1, 0), EFAULT);
    TEST_EQ(wait_now(e), 1);
    TEST_SUCC(epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL));
    TEST_EQ(wait_now(e), 0);
    TEST_ERRNO(read(e, ev, 8), EINVAL);
    TEST_ERRNO(write(e, ev, 8), EINVAL);
    TEST_RES(lseek(e, 5, SEEK_SET), _ret == 0);
}

FN_TEST(exclusive)
{
    int e = TEST_SUCC(epoll_create1(0)), f = TEST_SUCC(eventfd(1, 0)), e2 = TEST_SUCC(epoll_create1(0));
    TEST_ERRNO(add(e, f, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE), EINVAL);
    TEST_ERRNO(add(e, e2, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    TEST_SUCC(add(e, f, EPOLLIN | EPOLLEXCLUSIVE));
    TEST_ERRNO(mod(e, f, EPOLLIN), EINVAL);
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN);
}

FN_TEST(nested)
{
    int e[7], p[2];
    TEST_SUCC(pipe(p));
    for (int i = 0; i < 7; i++)
        e[i] = TEST_SUCC(epoll_create1(0));
    TEST_SUCC(add(e[0], p[0], EPOLLIN));
    int depth = 0;
    for (int i = 1; i < 7; i++, depth++)
        if (add(e[i], e[i - 1], EPOLLIN)) {
            TEST_EQ(errno, ELOOP);
            break;
        }
    test_print("depth %d\n", depth);
    TEST_EQ(wait_now(e[2]), 0);
    put(p[1], "x");
    TEST_EQ(wait_now(e[2]), 1);
    TEST_EQ(ev[0].events, EPOLLIN);
    TEST_EQ(wait_now(e[2]), 1);
    take(p[0], 1);
    TEST_EQ(wait_now(e[2]), 0);
    TEST_ERRNO(add(e[0], e[2], EPOLLIN), ELOOP);
    TEST_ERRNO(add(e[0], e[1], EPOLLIN), ELOOP);
}

FN_TEST(ready_events_rotate)
{
    int e = TEST_SUCC(epoll_create1(0)), f[4], seen[4] = {0};
    for (int i = 0; i < 4; i++) {
        f[i] = TEST_SUCC(eventfd(1, 0));
        TEST_SUCC(add(e, f[i], EPOLLIN));
    }
    for (int round = 0; round < 4; round++) {
        TEST_RES(epoll_wait(e, ev, 1, 0), _ret == 1);
        for (int i = 0; i < 4; i++)
            seen[i] += ev[0].data.u64 == 0x100000000ULL + f[i];
    }
    for (int i = 0; i < 4; i++)
        TEST_EQ(seen[i], 1);
}

FN_TEST(a_duplicate_keeps_the_file_watched)
{
    int e = TEST_SUCC(epoll_create1(0)), f = TEST_SUCC(eventfd(1, 0));
    int copy = TEST_SUCC(dup(f));
    TEST_SUCC(add(e, f, EPOLLIN));
    TEST_SUCC(add(e, copy, EPOLLIN));
    TEST_EQ(wait_now(e), 2);
    close(f);
    TEST_EQ(wait_now(e), 2);
    close(copy);
    TEST_EQ(wait_now(e), 0);
}

static volatile int hits;
static void count(int s) { (void)s; hits++; }

FN_TEST(waiting)
{
    int e = TEST_SUCC(epoll_create1(0)), p[2];
    struct timespec a, b;
    TEST_SUCC(pipe(p));
    TEST_SUCC(add(e, p[0], EPOLLIN));
    clock_gettime(CLOCK_MONOTONIC, &a);
    TEST_EQ(epoll_wait(e, ev, 1, 40), 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    TEST_CHECK((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 39);
    struct sigaction act = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &act, NULL);
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(epoll_wait(e, ev, 1, -1), EINTR));
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGALRM);
    TEST_EQ(epoll_wait(e, ev, 1, 20), 0);
    TEST_ERRNO(epoll_pwait(e, ev, 1, -1, &none), EINTR);
    TEST_EQ(hits, 2);
    struct timespec ts = {0, 20000000};
    TEST_EQ(syscall(SYS_epoll_pwait2, e, ev, 1, &ts, NULL, 8L), 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGALRM, SIG_DFL);
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        struct timespec t = {0, 40000000};
        nanosleep(&t, NULL);
        put(p[1], "x");
        _exit(0);
    }
    TEST_EQ(epoll_wait(e, ev, 1, -1), 1);
    TEST_REAP(child);
}

FN_TEST(sockets)
{
    int e = TEST_SUCC(epoll_create1(0)), s[2];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(add(e, s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLOUT);
    TEST_EQ(wait_now(e), 0);
    put(s[1], "hi");
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN | EPOLLOUT);
    TEST_EQ(wait_now(e), 0);
    TEST_SUCC(shutdown(s[1], SHUT_WR));
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    close(s[1]);
    TEST_EQ(wait_now(e), 1);
    TEST_EQ(ev[0].events, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}
