/* fcntl and ioctl on descriptors, dup; record locks, OFD locks, flock; seals. */
#include "test.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>

#ifndef F_OFD_SETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

static int file(void)
{
    unlink("locked");
    int fd = TEST_SUCC(open("locked", O_RDWR | O_CREAT, 0600));
    TEST_SUCC(ftruncate(fd, 100));
    return fd;
}

static int lock(int fd, int cmd, int type, long start, long len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &l);
}

/* What another process would find: "R0+10/pid" style, pid as 1 when it is the parent's. */
static void show(int fd, int type, long start, long len)
{
    pid_t parent = getpid();
    TEST_CHILD({
        struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
        TEST_SUCC(fcntl(fd, F_GETLK, &l));
        test_print("%s [%ld+%ld]: %d %ld+%ld %s\n", type == F_RDLCK ? "read" : "write", start, len, l.l_type,
                   (long)l.l_start, (long)l.l_len, l.l_type == F_UNLCK ? "-" : l.l_pid == parent ? "parent" : "other");
    });
}

FN_TEST(record_locks_split_and_merge)
{
    int fd = file();
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 10, 20));
    show(fd, F_RDLCK, 0, 0);
    show(fd, F_RDLCK, 0, 10);
    TEST_SUCC(lock(fd, F_SETLK, F_RDLCK, 15, 5));
    show(fd, F_WRLCK, 15, 5);
    show(fd, F_RDLCK, 15, 5);
    show(fd, F_RDLCK, 20, 5);
    TEST_SUCC(lock(fd, F_SETLK, F_UNLCK, 12, 4));
    show(fd, F_WRLCK, 12, 4);
    show(fd, F_WRLCK, 10, 6);
    show(fd, F_WRLCK, 16, 1);
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 12));
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 12, 10));
    show(fd, F_RDLCK, 5, 1);
    TEST_SUCC(lock(fd, F_SETLK, F_RDLCK, 50, 0));
    show(fd, F_WRLCK, 1000000, 1);
    TEST_SUCC(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    show(fd, F_WRLCK, 0, 0);
}

FN_TEST(whence_and_negative_lengths)
{
    int fd = file();
    TEST_SUCC(lseek(fd, 40, SEEK_SET));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 5, .l_len = -10};
    TEST_SUCC(fcntl(fd, F_SETLK, &l));
    show(fd, F_WRLCK, 0, 0);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -3, .l_len = 1};
    TEST_SUCC(fcntl(fd, F_SETLK, &l));
    show(fd, F_WRLCK, 60, 0);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = -1, .l_len = 1};
    TEST_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = 9, .l_start = 1, .l_len = 1};
    TEST_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = 7, .l_whence = SEEK_SET};
    TEST_ERRNO(fcntl(fd, F_SETLK, &l), EINVAL);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = INT64_MAX};
    TEST_ERRNO(fcntl(fd, F_SETLK, &l), EOVERFLOW);
    TEST_ERRNO(syscall(SYS_fcntl, fd, F_SETLK, 8L), EFAULT);
    int ro = TEST_SUCC(open("locked", O_RDONLY)), wo = TEST_SUCC(open("locked", O_WRONLY));
    TEST_ERRNO(lock(ro, F_SETLK, F_WRLCK, 0, 1), EBADF);
    TEST_ERRNO(lock(wo, F_SETLK, F_RDLCK, 0, 1), EBADF);
}

FN_TEST(conflicts_and_waiting)
{
    int fd = file(), p[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        TEST_ERRNO(lock(fd, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
        TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 10, 5));
        TEST_SUCC(write(p[1], "w", 1));
        TEST_SUCC(lock(fd, F_SETLKW, F_WRLCK, 0, 10));
        TEST_SUCC(write(p[1], "g", 1));
        _exit(0);
    }
    char c;
    TEST_SUCC(read(p[0], &c, 1));
    TEST_CHECK(c == 'w');
    test_until_asleep(child, child);
    TEST_ERRNO(lock(fd, F_SETLKW, F_WRLCK, 10, 1), EDEADLK);
    TEST_SUCC(lock(fd, F_SETLK, F_UNLCK, 0, 10));
    TEST_SUCC(read(p[0], &c, 1));
    TEST_CHECK(c == 'g');
    TEST_REAP(child);
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 0)); /* the child's are gone */
}

FN_TEST(any_close_drops_the_process_locks)
{
    int fd = file();
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    show(fd, F_RDLCK, 0, 1);
    int other = TEST_SUCC(open("locked", O_RDONLY));
    close(other);
    show(fd, F_RDLCK, 0, 1);
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    TEST_CHILD(TEST_ERRNO(lock(fd, F_SETLK, F_WRLCK, 0, 1), EAGAIN); close(fd));
    show(fd, F_RDLCK, 0, 1);
}

static void on_alarm(int s) { (void)s; }

FN_TEST(interrupted_wait)
{
    int fd = file();
    TEST_SUCC(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    TEST_CHILD({
        struct sigaction a = {.sa_handler = on_alarm};
        sigaction(SIGALRM, &a, NULL);
        TEST_SIGNALLED(SIGALRM, TEST_ERRNO(lock(fd, F_SETLKW, F_WRLCK, 0, 0), EINTR));
        int again = open("locked", O_RDWR);
        TEST_SUCC(flock(again, LOCK_EX));
        TEST_SIGNALLED(SIGALRM, TEST_ERRNO(flock(fd, LOCK_EX), EINTR));
    });
}

FN_TEST(ofd_locks)
{
    int a = file(), b = TEST_SUCC(open("locked", O_RDWR));
    TEST_SUCC(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
    TEST_ERRNO(lock(b, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    TEST_ERRNO(lock(b, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
    struct flock l = {.l_type = F_WRLCK};
    TEST_SUCC(fcntl(b, F_OFD_GETLK, &l));
    TEST_EQ(l.l_type, F_WRLCK);
    TEST_EQ(l.l_pid, -1);
    l = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
    TEST_ERRNO(fcntl(a, F_OFD_SETLK, &l), EINVAL);
    TEST_CHILD(TEST_SUCC(lock(a, F_OFD_SETLK, F_WRLCK, 0, 20)));
    int copy = TEST_SUCC(dup(a));
    close(a);
    TEST_ERRNO(lock(b, F_OFD_SETLK, F_RDLCK, 15, 1), EAGAIN);
    close(copy);
    TEST_SUCC(lock(b, F_OFD_SETLK, F_RDLCK, 15, 1));
}

FN_TEST(flock_belongs_to_the_description)
{
    int a = file(), b = TEST_SUCC(open("locked", O_RDONLY)), c = TEST_SUCC(dup(a));
    TEST_SUCC(flock(a, LOCK_EX));
    TEST_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    TEST_SUCC(flock(c, LOCK_SH | LOCK_NB));
    TEST_SUCC(flock(b, LOCK_SH | LOCK_NB));
    TEST_ERRNO(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    TEST_SUCC(flock(b, LOCK_UN));
    TEST_SUCC(flock(a, LOCK_EX | LOCK_NB));
    TEST_SUCC(lock(b, F_SETLK, F_RDLCK, 0, 0)); /* the two kinds ignore each other */
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(a), close(c);
        TEST_SUCC(flock(b, LOCK_EX));
        _exit(0);
    }
    pause_ms(40);
    close(a);
    pause_ms(20);
    TEST_EQ(waitpid(child, NULL, WNOHANG), 0);
    close(c);
    TEST_REAP(child);
    TEST_ERRNO(flock(b, 0), EINVAL);
    TEST_ERRNO(flock(b, LOCK_EX | LOCK_SH), EINVAL);
    TEST_ERRNO(flock(999, LOCK_EX), EBADF);
}

/* -- descriptors ----------------------------------------------------------- */

FN_TEST(dup_family)
{
    int n = TEST_SUCC(open("/dev/null", O_RDWR | O_CLOEXEC));
    int d = TEST_SUCC(dup(n));
    TEST_EQ(fcntl(d, F_GETFD), 0);
    TEST_EQ(fcntl(n, F_GETFD), FD_CLOEXEC);
    TEST_EQ(dup2(n, n), n);
    TEST_EQ(fcntl(n, F_GETFD), FD_CLOEXEC);
    TEST_EQ(dup2(n, 77), 77);
    TEST_EQ(dup3(n, 77, O_CLOEXEC), 77);
    TEST_EQ(fcntl(77, F_GETFD), FD_CLOEXEC);
    TEST_ERRNO(dup3(n, n, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_dup3, n, 78, 1), EINVAL); /* musl drops other flags */
    TEST_ERRNO(dup2(999, 78), EBADF);
    TEST_ERRNO(dup2(n, -1), EBADF);
    TEST_ERRNO(dup2(n, 10000000), EBADF);
    TEST_ERRNO(dup(999), EBADF);
    TEST_EQ(fcntl(n, F_DUPFD, 100), 100);
    TEST_EQ(fcntl(n, F_DUPFD, 100), 101);
    TEST_EQ(fcntl(n, F_DUPFD_CLOEXEC, 102), 102);
    TEST_EQ(fcntl(102, F_GETFD), FD_CLOEXEC);
    TEST_ERRNO(fcntl(n, F_DUPFD, -1), EINVAL);
    TEST_ERRNO(fcntl(n, F_DUPFD, 10000000), EINVAL);
    TEST_ERRNO(fcntl(999, F_DUPFD, 0), EBADF);
    for (int i = 100; i < 103; i++)
        close(i);
    close(77), close(d), close(n);
}

FN_TEST(descriptor_limit)
{
    TEST_CHILD({
        struct rlimit r = {20, 20};
        TEST_SUCC(setrlimit(RLIMIT_NOFILE, &r));
        while (dup(0) >= 0)
            ;
        TEST_EQ(errno, EMFILE);
        int p[2];
        TEST_ERRNO(pipe(p), EMFILE);
        TEST_ERRNO(dup2(0, 20), EBADF);
        TEST_ERRNO(fcntl(0, F_DUPFD, 20), EINVAL);
        close(19);
        TEST_ERRNO(pipe(p), EMFILE);
        TEST_EQ(dup(0), 19);
    });
}

FN_TEST(status_flags)
{
    int fd = file();
    TEST_EQ(fcntl(fd, F_GETFL) & ~O_LARGEFILE & ~0100000, O_RDWR);
    TEST_SUCC(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_CREAT));
    TEST_EQ(fcntl(fd, F_GETFL) & ~0100000, O_RDWR | O_APPEND | O_NONBLOCK);
    TEST_SUCC(lseek(fd, 0, SEEK_SET));
    TEST_SUCC(write(fd, "x", 1));
    TEST_EQ(lseek(fd, 0, SEEK_CUR), 101);
    TEST_SUCC(fcntl(fd, F_SETFL, 0));
    TEST_EQ(fcntl(fd, F_GETFL) & ~0100000, O_RDWR);
    TEST_SUCC(fcntl(fd, F_SETFD, FD_CLOEXEC));
    TEST_EQ(fcntl(fd, F_GETFD), 1);
    TEST_ERRNO(fcntl(fd, 12345), EINVAL);
    TEST_ERRNO(fcntl(999, F_GETFL), EBADF);
    int path = TEST_SUCC(open("locked", O_PATH));
    TEST_EQ(fcntl(path, F_GETFL), O_PATH);
    TEST_ERRNO(fcntl(path, F_SETFL, 0), EBADF);
    TEST_ERRNO(ioctl(path, FIONREAD, &fd), EBADF);
    int copy = TEST_SUCC(fcntl(path, F_DUPFD, 0));
    close(copy);
}

FN_TEST(owners)
{
    int p[2];
    TEST_SUCC(pipe(p));
    TEST_EQ(fcntl(p[0], F_GETOWN), 0);
    TEST_SUCC(fcntl(p[0], F_SETOWN, getpid()));
    TEST_EQ(fcntl(p[0], F_GETOWN), getpid());
    TEST_EQ(fcntl(p[0], F_GETSIG), 0);
    TEST_SUCC(fcntl(p[0], F_SETSIG, SIGUSR1));
    TEST_EQ(fcntl(p[0], F_GETSIG), SIGUSR1);
    TEST_ERRNO(fcntl(p[0], F_SETSIG, 65), EINVAL);
    struct f_owner_ex o;
    TEST_SUCC(fcntl(p[0], F_GETOWN_EX, &o));
    TEST_EQ(o.type, F_OWNER_PID);
    TEST_EQ(o.pid, getpid());
}

FN_TEST(ioctls)
{
    int fd = file(), n, p[2], one = 1, zero = 0;
    TEST_SUCC(ioctl(fd, FIOCLEX));
    TEST_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    TEST_SUCC(ioctl(fd, FIONCLEX));
    TEST_EQ(fcntl(fd, F_GETFD), 0);
    TEST_SUCC(lseek(fd, 30, SEEK_SET));
    TEST_SUCC(ioctl(fd, FIONREAD, &n));
    TEST_EQ(n, 70);
    TEST_SUCC(pipe(p));
    TEST_SUCC(ioctl(p[0], FIONBIO, &one));
    TEST_EQ(fcntl(p[0], F_GETFL), O_NONBLOCK);
    TEST_SUCC(ioctl(p[0], FIONBIO, &zero));
    TEST_EQ(fcntl(p[0], F_GETFL), 0);
    TEST_ERRNO(ioctl(p[0], FIONBIO, (void *)(long)zero), EFAULT);
    TEST_ERRNO(ioctl(p[0], TCGETS, &n), ENOTTY);
    TEST_ERRNO(ioctl(fd, TCGETS, &n), ENOTTY);
    TEST_ERRNO(ioctl(fd, TIOCGWINSZ, &n), ENOTTY);
    TEST_ERRNO(ioctl(fd, 0x1234, &n), ENOTTY);
    TEST_ERRNO(ioctl(999, FIONREAD, &n), EBADF);
    int null = TEST_SUCC(open("/dev/null", O_RDWR));
    TEST_ERRNO(ioctl(null, TCGETS, &n), ENOTTY);
    TEST_ERRNO(ioctl(null, FIONREAD, &n), ENOTTY);
}

FN_TEST(seals)
{
    int m = TEST_SUCC(memfd_create("sealed", MFD_ALLOW_SEALING));
    TEST_EQ(fcntl(m, F_GET_SEALS), 0);
    TEST_SUCC(ftruncate(m, 8192));
    TEST_SUCC(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK));
    TEST_ERRNO(ftruncate(m, 4096), EPERM);
    TEST_SUCC(ftruncate(m, 12288));
    TEST_SUCC(fcntl(m, F_ADD_SEALS, F_SEAL_GROW));
    TEST_ERRNO(ftruncate(m, 16384), EPERM);
    TEST_EQ(fcntl(m, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
    void *a = TEST_SUCC(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0));
    TEST_ERRNO(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(a, 4096);
    TEST_SUCC(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    TEST_ERRNO(write(m, "x", 1), EPERM);
    TEST_ERRNO(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    TEST_ERRNO(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0) == MAP_FAILED ? -1 : 0, EPERM);
    int plain = TEST_SUCC(memfd_create("plain", 0));
    TEST_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    TEST_ERRNO(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    TEST_ERRNO(fcntl(file(), F_GET_SEALS), EINVAL);
}
