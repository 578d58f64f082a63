/* splice, tee, vmsplice, sendfile, copy_file_range. */
#include "test.h"
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

static char big[1 << 20], back[1 << 20];

static int make(const char *name, int n)
{
    unlink(name);
    int fd = TEST_SUCC(open(name, O_RDWR | O_CREAT, 0600));
    for (int i = 0; i < n; i++)
        big[i] = i * 31 + (i >> 8);
    TEST_RES(write(fd, big, n), _ret == n);
    TEST_SUCC(lseek(fd, 0, SEEK_SET));
    return fd;
}

static long drain(int fd)
{
    long n = 0, r;
    while ((r = read(fd, back + n, sizeof back - n)) > 0)
        n += r;
    return n;
}

FN_TEST(file_to_pipe_to_file)
{
    int in = make("in", 200000), out = make("out", 0), p[2];
    TEST_SUCC(pipe(p));
    long total = 0;
    for (;;) {
        long n = TEST_SUCC(splice(in, NULL, p[1], NULL, 50000, 0));
        if (!n)
            break;
        total += n;
        while (n > 0)
            n -= TEST_SUCC(splice(p[0], NULL, out, NULL, n, 0));
    }
    TEST_EQ(total, 200000);
    TEST_EQ(lseek(in, 0, SEEK_CUR), 200000);
    TEST_EQ(lseek(out, 0, SEEK_CUR), 200000);
    TEST_RES(pread(out, back, 200000, 0), _ret == 200000);
    TEST_CHECK(!memcmp(big, back, 200000));
    loff_t a = 1000, b = 5;
    TEST_RES(splice(in, &a, p[1], NULL, 100, 0), _ret == 100);
    TEST_EQ(a, 1100);
    TEST_RES(splice(p[0], NULL, out, &b, 1000, 0), _ret == 100);
    TEST_EQ(b, 105);
    TEST_EQ(lseek(in, 0, SEEK_CUR), 200000);
    TEST_RES(pread(out, back, 100, 5), !memcmp(back, big + 1000, 100));
    unlink("in"), unlink("out");
}

FN_TEST(splice_errors)
{
    int in = make("in", 100), p[2], q[2];
    loff_t o = 0;
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe2(q, O_NONBLOCK));
    TEST_ERRNO(splice(in, NULL, in, NULL, 10, 0), EINVAL);
    TEST_ERRNO(splice(in, NULL, p[1], &o, 10, 0), ESPIPE);
    TEST_ERRNO(splice(p[0], &o, in, NULL, 10, 0), ESPIPE);
    TEST_ERRNO(splice(p[0], NULL, p[1], NULL, 10, 0), EINVAL);
    TEST_ERRNO(splice(p[1], NULL, q[1], NULL, 10, 0), EBADF);
    TEST_ERRNO(splice(in, NULL, p[1], NULL, 10, 16), EINVAL);
    TEST_ERRNO(splice(999, NULL, p[1], NULL, 10, 0), EBADF);
    TEST_RES(splice(in, NULL, p[1], NULL, 0, 0), _ret == 0);
    TEST_ERRNO(splice(p[0], NULL, q[1], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
    TEST_ERRNO(splice(q[0], NULL, in, NULL, 10, 0), EAGAIN);
    int append = TEST_SUCC(open("in", O_WRONLY | O_APPEND));
    TEST_SUCC(write(p[1], "x", 1));
    TEST_ERRNO(splice(p[0], NULL, append, NULL, 10, 0), EINVAL);
    signal(SIGPIPE, SIG_IGN);
    close(q[0]);
    TEST_ERRNO(splice(in, NULL, q[1], NULL, 10, 0), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    unlink("in");
}

FN_TEST(pipe_to_pipe_and_tee)
{
    int p[2], q[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    TEST_SUCC(write(p[1], "hello world", 11));
    TEST_RES(tee(p[0], q[1], 5, 0), _ret == 5);
    TEST_RES(read(q[0], back, 100), _ret == 5 && !memcmp(back, "hello", 5));
    TEST_RES(splice(p[0], NULL, q[1], NULL, 6, 0), _ret == 6);
    TEST_RES(tee(p[0], q[1], 100, 0), _ret == 5);
    TEST_RES(read(q[0], back, 100), _ret == 11 && !memcmp(back, "hello world", 11));
    TEST_RES(read(p[0], back, 100), _ret == 5 && !memcmp(back, "world", 5));
    TEST_ERRNO(tee(p[0], p[1], 10, 0), EINVAL);
    TEST_ERRNO(tee(p[0], q[1], 10, SPLICE_F_NONBLOCK), EAGAIN);
    close(p[1]);
    TEST_RES(tee(p[0], q[1], 10, 0), _ret == 0);
    TEST_RES(splice(p[0], NULL, q[1], NULL, 10, 0), _ret == 0);
}

FN_TEST(pages_fill_slots)
{
    int p[2], in = make("in", 200000);
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    struct iovec v = {big + 100, 3};
    int n = 0;
    while (vmsplice(p[1], &v, 1, SPLICE_F_NONBLOCK) > 0)
        n++;
    TEST_EQ(errno, EAGAIN);
    TEST_EQ(n, 16);
    struct pollfd f = {p[1], POLLOUT, 0};
    TEST_EQ(poll(&f, 1, 0), 0);
    TEST_EQ(drain(p[0]), 48);
    test_print("a pipe takes %ld of a file\n", (long)splice(in, NULL, p[1], NULL, 200000, 0));
    unlink("in");
}

FN_TEST(vmsplice_both_ways)
{
    int p[2];
    TEST_SUCC(pipe(p));
    struct iovec v[3] = {{"abc", 3}, {"", 0}, {"defg", 4}};
    TEST_RES(vmsplice(p[1], v, 3, 0), _ret == 7);
    char a[3], b[10];
    struct iovec w[2] = {{a, 3}, {b, 10}};
    TEST_RES(vmsplice(p[0], w, 2, 0), _ret == 7);
    TEST_CHECK(!memcmp(a, "abc", 3) && !memcmp(b, "defg", 4));
    TEST_ERRNO(vmsplice(p[1], v, 3, 16), EINVAL);
    TEST_ERRNO(vmsplice(1000, v, 3, 0), EBADF);
    TEST_ERRNO(vmsplice(open("/dev/null", O_RDWR), v, 3, 0), EBADF);
    TEST_RES(vmsplice(p[1], v, 0, 0), _ret == 0);
    v[0].iov_base = NULL;
    TEST_ERRNO(vmsplice(p[1], v, 1, 0), EFAULT);
}

/* The child lends a page to a pipe and unmaps it; what the parent writes later must not show (CVE-2020-29374). */
FN_TEST(vmsplice_after_fork_keeps_the_old_bytes)
{
    int p[2], q[2], r[2];
    char c;
    TEST_SUCC(pipe(p));
    TEST_SUCC(pipe(q));
    TEST_SUCC(pipe(r));
    char *m = TEST_SUCC(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    strcpy(m, "public");
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        struct iovec v = {m, 4096};
        TEST_SUCC(vmsplice(p[1], &v, 1, 0));
        TEST_SUCC(munmap(m, 4096));
        TEST_SUCC(write(r[1], "g", 1));
        TEST_RES(read(q[0], &c, 1), _ret == 1);
        TEST_RES(read(p[0], back, 4096), _ret == 4096);
        TEST_STR(back, "public");
        _exit(0);
    }
    TEST_RES(read(r[0], &c, 1), _ret == 1);
    strcpy(m, "secret");
    TEST_SUCC(write(q[1], "s", 1));
    TEST_REAP(child);
    TEST_STR(m, "secret");
}

FN_TEST(sendfile_everywhere)
{
    int in = make("in", 100000), out = make("out", 0), s[2], p[2];
    off_t o = 10;
    TEST_RES(sendfile(out, in, NULL, 1000), _ret == 1000);
    test_print("position %ld\n", (long)lseek(in, 0, SEEK_CUR));
    TEST_RES(sendfile(out, in, &o, 200000), _ret == 99990);
    TEST_EQ(o, 100000);
    TEST_RES(sendfile(out, in, &o, 10), _ret == 0);
    test_print("position %ld\n", (long)lseek(in, 0, SEEK_CUR));
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    o = 50;
    TEST_RES(sendfile(s[0], in, &o, 300), _ret == 300);
    TEST_RES(read(s[1], back, 1000), _ret == 300 && !memcmp(back, big + 50, 300));
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    o = 0;
    test_print("to a pipe %ld\n", (long)sendfile(p[1], in, &o, 100000));
    TEST_ERRNO(sendfile(p[1], in, &o, 100000), EAGAIN);
    TEST_ERRNO(sendfile(out, p[0], NULL, 10), EINVAL);
    TEST_ERRNO(sendfile(out, p[0], &o, 10), ESPIPE);
    TEST_ERRNO(sendfile(out, 999, &o, 10), EBADF);
    TEST_ERRNO(sendfile(p[0], in, &o, 10), EBADF);
    o = -1;
    TEST_ERRNO(sendfile(out, in, &o, 10), EINVAL);
    TEST_ERRNO(syscall(SYS_sendfile, out, in, 8L, 10), EFAULT);
    unlink("in"), unlink("out");
}

FN_TEST(copying_ranges)
{
    int in = make("in", 100000), out = make("out", 0);
    loff_t a = 100, b = 7;
    TEST_RES(copy_file_range(in, &a, out, &b, 5000, 0), _ret == 5000);
    TEST_EQ(a, 5100);
    TEST_EQ(b, 5007);
    TEST_RES(pread(out, back, 10000, 0), _ret == 5007 && !memcmp(back + 7, big + 100, 5000));
    TEST_RES(copy_file_range(in, NULL, out, NULL, 1 << 20, 0), _ret == 100000);
    TEST_EQ(lseek(in, 0, SEEK_CUR), 100000);
    TEST_EQ(lseek(out, 0, SEEK_CUR), 100000);
    TEST_RES(copy_file_range(in, NULL, out, NULL, 10, 0), _ret == 0);
    a = 0, b = 50;
    TEST_ERRNO(copy_file_range(in, &a, in, &b, 100, 0), EINVAL);
    b = 100000;
    TEST_RES(copy_file_range(in, &a, in, &b, 100, 0), _ret == 100);
    TEST_ERRNO(copy_file_range(in, NULL, out, NULL, 10, 1), EINVAL);
    int p[2], dir = TEST_SUCC(open(".", O_RDONLY)), ro = TEST_SUCC(open("out", O_RDONLY));
    int append = TEST_SUCC(open("out", O_WRONLY | O_APPEND));
    TEST_SUCC(pipe(p));
    TEST_ERRNO(copy_file_range(dir, NULL, out, NULL, 10, 0), EISDIR);
    TEST_ERRNO(copy_file_range(p[0], NULL, out, NULL, 10, 0), EINVAL);
    TEST_ERRNO(copy_file_range(in, NULL, ro, NULL, 10, 0), EBADF);
    TEST_ERRNO(copy_file_range(in, NULL, append, NULL, 10, 0), EBADF);
    TEST_ERRNO(copy_file_range(999, NULL, out, NULL, 10, 0), EBADF);
    unlink("in"), unlink("out");
}
