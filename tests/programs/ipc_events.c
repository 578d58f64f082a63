/* eventfd, timerfd, signalfd. */
#include "test.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

static int events_of(int fd, int want)
{
    struct pollfd p = {.fd = fd, .events = want};
    poll(&p, 1, 0);
    return p.revents;
}

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

static uint64_t get(int fd)
{
    uint64_t v = 0;
    TEST_RES(read(fd, &v, 8), _ret == 8);
    return v;
}

static void put(int fd, uint64_t v) { TEST_RES(write(fd, &v, 8), _ret == 8); }

FN_TEST(eventfd_counts)
{
    int e = TEST_SUCC(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t v;
    TEST_EQ(fcntl(e, F_GETFL), O_RDWR | O_NONBLOCK);
    TEST_EQ(fcntl(e, F_GETFD), FD_CLOEXEC);
    TEST_EQ(get(e), 3);
    TEST_ERRNO(read(e, &v, 8), EAGAIN);
    put(e, 5);
    put(e, 6);
    TEST_EQ(events_of(e, POLLIN | POLLOUT), POLLIN | POLLOUT);
    TEST_EQ(get(e), 11);
    TEST_EQ(events_of(e, POLLIN | POLLOUT), POLLOUT);
    TEST_ERRNO(read(e, &v, 7), EINVAL);
    TEST_ERRNO(write(e, &v, 7), EINVAL);
    v = UINT64_MAX;
    TEST_ERRNO(write(e, &v, 8), EINVAL);
    put(e, UINT64_MAX - 1);
    TEST_EQ(events_of(e, POLLIN | POLLOUT), POLLIN);
    v = 1;
    TEST_ERRNO(write(e, &v, 8), EAGAIN);
    v = 0;
    TEST_SUCC(write(e, &v, 8));
    TEST_EQ(get(e), UINT64_MAX - 1);
    TEST_ERRNO(eventfd(0, 2), EINVAL);
    char twenty[20] = {0};
    twenty[0] = 9;
    TEST_ERRNO(write(e, twenty, 20), EINVAL);
    put(e, 2);
    TEST_RES(read(e, twenty, 20), _ret == 8);
}

FN_TEST(eventfd_semaphore)
{
    int e = TEST_SUCC(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    uint64_t v;
    TEST_EQ(get(e), 1);
    TEST_EQ(get(e), 1);
    TEST_ERRNO(read(e, &v, 8), EAGAIN);
}

FN_TEST(eventfd_blocks)
{
    int e = TEST_SUCC(eventfd(0, 0));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(40);
        put(e, UINT64_MAX - 1);
        put(e, 7); /* blocks until it is read */
        _exit(0);
    }
    TEST_EQ(get(e), UINT64_MAX - 1);
    TEST_EQ(get(e), 7);
    TEST_REAP(child);
}

FN_TEST(timerfd_once)
{
    int t = TEST_SUCC(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec s = {{0, 0}, {5000, 0}}, old;
    uint64_t v;
    TEST_ERRNO(read(t, &v, 8), EAGAIN);
    TEST_SUCC(timerfd_settime(t, 0, &s, NULL));
    TEST_SUCC(timerfd_gettime(t, &old));
    TEST_CHECK(old.it_value.tv_sec > 4000 && old.it_value.tv_sec < 5000 && old.it_value.tv_nsec > 0);
    TEST_EQ(events_of(t, POLLIN), 0);
    s.it_value = (struct timespec){0, 50000000};
    TEST_SUCC(timerfd_settime(t, 0, &s, NULL));
    struct pollfd p = {t, POLLIN, 0};
    TEST_RES(poll(&p, 1, -1), _ret == 1);
    TEST_EQ(get(t), 1);
    TEST_SUCC(timerfd_gettime(t, &old));
    TEST_CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
    TEST_ERRNO(read(t, &v, 8), EAGAIN);
    TEST_ERRNO(read(t, &v, 7), EINVAL);
    TEST_ERRNO(write(t, &v, 8), EINVAL);
}

FN_TEST(timerfd_periodic)
{
    int t = TEST_SUCC(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec s = {{0, 20000000}, {0, 20000000}}, old;
    TEST_SUCC(timerfd_settime(t, 0, &s, NULL));
    TEST_CHECK(get(t) >= 1);
    pause_ms(70);
    TEST_CHECK(get(t) >= 3);
    memset(&s, 0, sizeof s);
    TEST_SUCC(timerfd_settime(t, 0, &s, &old));
    TEST_EQ(old.it_interval.tv_nsec, 20000000);
    TEST_EQ(events_of(t, POLLIN), 0);
}

FN_TEST(timerfd_absolute)
{
    for (int clock = 0; clock < 2; clock++) {
        int t = TEST_SUCC(timerfd_create(clock ? CLOCK_MONOTONIC : CLOCK_REALTIME, 0));
        struct itimerspec s = {{0, 0}, {0, 0}};
        clock_gettime(clock ? CLOCK_MONOTONIC : CLOCK_REALTIME, &s.it_value);
        s.it_value.tv_nsec += 30000000;
        if (s.it_value.tv_nsec >= 1000000000)
            s.it_value.tv_sec++, s.it_value.tv_nsec -= 1000000000;
        TEST_SUCC(timerfd_settime(t, TFD_TIMER_ABSTIME, &s, NULL));
        TEST_EQ(get(t), 1);
        s.it_value = (struct timespec){1, 0}; /* long ago */
        TEST_SUCC(timerfd_settime(t, TFD_TIMER_ABSTIME, &s, NULL));
        TEST_EQ(get(t), 1);
        close(t);
    }
}

FN_TEST(timerfd_errors)
{
    int t = TEST_SUCC(timerfd_create(CLOCK_BOOTTIME, 0)), e = TEST_SUCC(eventfd(0, 0));
    struct itimerspec s = {{0, 0}, {0, 1000000000}};
    TEST_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    TEST_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
    TEST_ERRNO(timerfd_settime(t, 0, &s, NULL), EINVAL);
    s.it_value.tv_nsec = 0;
    TEST_ERRNO(timerfd_settime(t, 8, &s, NULL), EINVAL);
    TEST_ERRNO(timerfd_settime(e, 0, &s, NULL), EINVAL);
    TEST_ERRNO(timerfd_gettime(e, &s), EINVAL);
    TEST_ERRNO(timerfd_gettime(999, &s), EBADF);
    TEST_ERRNO(syscall(SYS_timerfd_settime, t, 0, 8L, NULL), EFAULT);
    TEST_ERRNO(syscall(SYS_timerfd_gettime, t, 8L), EFAULT);
}

FN_TEST(signalfd_takes_signals)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    int s = TEST_SUCC(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    struct signalfd_siginfo i[4];
    TEST_ERRNO(read(s, i, sizeof i), EAGAIN);
    TEST_ERRNO(read(s, i, 127), EINVAL);
    TEST_EQ(events_of(s, POLLIN), 0);
    kill(getpid(), SIGUSR1);
    TEST_EQ(events_of(s, POLLIN), POLLIN);
    union sigval v = {.sival_int = 77};
    sigqueue(getpid(), SIGRTMIN + 1, v);
    sigqueue(getpid(), SIGRTMIN + 1, v);
    TEST_RES(read(s, i, sizeof i), _ret == 3 * 128);
    TEST_EQ(i[0].ssi_signo, SIGUSR1);
    TEST_EQ(i[0].ssi_pid, getpid());
    TEST_EQ(i[0].ssi_uid, getuid());
    TEST_EQ(i[0].ssi_code, SI_USER);
    TEST_EQ(i[1].ssi_signo, SIGRTMIN + 1);
    TEST_EQ(i[1].ssi_code, SI_QUEUE);
    TEST_EQ(i[1].ssi_int, 77);
    TEST_ERRNO(read(s, i, sizeof i), EAGAIN);
    pid_t child = TEST_SUCC(fork());
    if (!child)
        _exit(5);
    struct pollfd p = {s, POLLIN, 0};
    TEST_RES(poll(&p, 1, 5000), _ret == 1);
    TEST_RES(read(s, i, sizeof i), _ret == 128);
    TEST_EQ(i[0].ssi_signo, SIGCHLD);
    TEST_EQ(i[0].ssi_pid, child);
    TEST_EQ(i[0].ssi_status, 5);
    TEST_EQ(i[0].ssi_code, CLD_EXITED);
    waitpid(child, NULL, 0);
    /* another mask on the same descriptor */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    TEST_EQ(signalfd(s, &set, 0), s);
    kill(getpid(), SIGUSR1);
    TEST_ERRNO(read(s, i, sizeof i), EAGAIN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(s);
}

FN_TEST(signalfd_blocks)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    int s = TEST_SUCC(signalfd(-1, &set, 0));
    pid_t me = getpid(), child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(40);
        kill(me, SIGUSR1);
        pause_ms(40);
        kill(me, SIGUSR1);
        _exit(0);
    }
    struct signalfd_siginfo i;
    TEST_RES(read(s, &i, sizeof i), _ret == 128 && i.ssi_signo == SIGUSR1 && i.ssi_pid == (uint32_t)child);
    struct pollfd p = {s, POLLIN, 0};
    TEST_RES(poll(&p, 1, -1), _ret == 1);
    TEST_RES(read(s, &i, sizeof i), _ret == 128);
    TEST_REAP(child);
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(s);
}

FN_TEST(signalfd_errors)
{
    sigset_t set;
    sigemptyset(&set);
    int e = TEST_SUCC(eventfd(0, 0));
    TEST_ERRNO(signalfd(e, &set, 0), EINVAL);
    TEST_ERRNO(signalfd(999, &set, 0), EBADF);
    TEST_ERRNO(signalfd(-1, &set, 1), EINVAL);
    TEST_ERRNO(syscall(SYS_signalfd4, -1, &set, 4L, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_signalfd4, -1, 8L, 8L, 0), EFAULT);
}

FN_TEST(anonymous_files)
{
    int e = TEST_SUCC(eventfd(5, EFD_NONBLOCK));
    struct stat st;
    TEST_SUCC(fstat(e, &st));
    TEST_EQ(st.st_mode, 0600);
    TEST_RES(lseek(e, 3, SEEK_SET), _ret == 0);
    TEST_ERRNO(pread(e, &st, 8, 0), ESPIPE);
    TEST_ERRNO(ftruncate(e, 0), EINVAL);
    TEST_ERRNO(fsync(e), EINVAL);
    char path[64], link[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", e);
    TEST_SUCC(readlink(path, link, sizeof link - 1));
    TEST_STR(link, "anon_inode:[eventfd]");
    TEST_ERRNO(open(path, O_RDWR), ENXIO);
}
