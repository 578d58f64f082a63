/* Pipes and FIFOs: capacity in slots, atomicity, blocking, EPIPE, poll masks, resizing, packets. */
#include "test.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <time.h>

#define BAD (bad_address())

static char big[1 << 20], back[1 << 20];

static void *bad_address(void)
{
    static void *volatile p = (void *)8;
    return p;
}

static int events_of(int fd, int want)
{
    struct pollfd p = {.fd = fd, .events = want};
    poll(&p, 1, 0);
    return p.revents;
}

static long fill(int fd, int n)
{
    long total = 0;
    ssize_t r;
    while ((r = write(fd, big, n)) > 0)
        total += r;
    return total;
}

static void ignore(int s) { (void)s; }

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

FN_TEST(round_trip)
{
    int p[2];
    char b[8];
    TEST_SUCC(pipe(p));
    TEST_RES(write(p[1], "hello", 5), _ret == 5);
    TEST_RES(read(p[0], b, 2), _ret == 2 && !memcmp(b, "he", 2));
    TEST_RES(read(p[0], b, 8), _ret == 3 && !memcmp(b, "llo", 3));
    TEST_RES(read(p[0], b, 0), _ret == 0);
    TEST_RES(write(p[1], b, 0), _ret == 0);
    close(p[1]);
    TEST_RES(read(p[0], b, 8), _ret == 0);
    close(p[0]);
}

FN_TEST(wrong_end)
{
    int p[2];
    char b[8];
    TEST_SUCC(pipe(p));
    TEST_ERRNO(write(p[0], b, 1), EBADF);
    TEST_ERRNO(read(p[1], b, 1), EBADF);
    TEST_ERRNO(lseek(p[0], 0, SEEK_CUR), ESPIPE);
    TEST_ERRNO(pread(p[0], b, 1, 0), ESPIPE);
    TEST_ERRNO(pwrite(p[1], b, 1, 0), ESPIPE);
    TEST_ERRNO(ftruncate(p[1], 0), EINVAL);
    TEST_ERRNO(fsync(p[1]), EINVAL);
    TEST_ERRNO(pipe2(p, 1), EINVAL);
    TEST_ERRNO(syscall(SYS_pipe, 8L), EFAULT);
    TEST_RES(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p[0], 0), _ret == -1 && _err == ENODEV);
}

FN_TEST(no_descriptor_left_after_efault)
{
    int before = dup(0), after;
    close(before);
    TEST_ERRNO(syscall(SYS_pipe2, 8L, 0), EFAULT);
    after = dup(0);
    TEST_EQ(before, after);
    close(after);
}

FN_TEST(what_it_is)
{
    int p[2];
    struct stat a, b;
    TEST_SUCC(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    TEST_SUCC(fstat(p[0], &a));
    TEST_SUCC(fstat(p[1], &b));
    TEST_EQ(a.st_mode, S_IFIFO | 0600);
    TEST_EQ(a.st_ino, b.st_ino);
    TEST_EQ(a.st_dev, b.st_dev);
    TEST_EQ(a.st_uid, getuid());
    TEST_EQ(a.st_size, 0);
    TEST_EQ(a.st_nlink, 1);
    TEST_EQ(a.st_blksize, 4096);
    TEST_EQ(fcntl(p[0], F_GETFD), FD_CLOEXEC);
    TEST_EQ(fcntl(p[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    TEST_EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_NONBLOCK);
    char path[64], link[64] = "", want[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    snprintf(want, sizeof want, "pipe:[%lu]", (unsigned long)a.st_ino);
    TEST_SUCC(readlink(path, link, sizeof link - 1));
    TEST_STR(link, want);
}

FN_TEST(capacity_is_counted_in_slots)
{
    static const struct { int n; long total; } want[] = {
        {1, 65536}, {100, 0}, {4095, 0}, {4096, 65536}, {4097, 0}, {5000, 0}, {65536, 65536}, {100000, 65536}};
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++) {
        int p[2];
        TEST_SUCC(pipe2(p, O_NONBLOCK));
        long total = fill(p[1], want[i].n);
        TEST_EQ(errno, EAGAIN);
        if (want[i].total)
            TEST_EQ(total, want[i].total);
        else
            test_print("n %d holds %ld\n", want[i].n, total);
        int n;
        TEST_SUCC(ioctl(p[0], FIONREAD, &n));
        TEST_EQ(n, total);
        TEST_EQ(events_of(p[1], POLLOUT), 0);
        /* half a slot read frees none */
        TEST_SUCC(read(p[0], back, 1));
        test_print("after one byte: %x\n", events_of(p[1], POLLOUT));
        TEST_SUCC(read(p[0], back, 4096));
        int ready = events_of(p[1], POLLOUT);
        test_print("after 4097 bytes: %x, takes %ld\n", ready, fill(p[1], want[i].n));
        close(p[0]);
        close(p[1]);
    }
}

FN_TEST(small_writes_merge_unless_the_page_is_consumed)
{
    int p[2];
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    TEST_EQ(fill(p[1], 4096), 65536);
    TEST_RES(read(p[0], back, 61440), _ret == 61440);
    TEST_RES(read(p[0], back, 4000), _ret == 4000);
    TEST_RES(write(p[1], big, 3000), _ret == 3000);
    TEST_RES(write(p[1], big, 1096), _ret == 1096);
    TEST_EQ(fill(p[1], 4096), 14 * 4096);
}

FN_TEST(data_stays_in_order)
{
    int p[2];
    TEST_SUCC(pipe(p));
    TEST_SUCC(fcntl(p[0], F_SETFL, O_NONBLOCK));
    TEST_SUCC(fcntl(p[1], F_SETFL, O_NONBLOCK));
    unsigned in = 0, out = 0, seed = 1;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        int n = (seed >> 8) % 9000 + 1;
        if (seed >> 30 & 1) {
            for (int k = 0; k < n; k++)
                big[k] = (in + k) * 7;
            ssize_t r = write(p[1], big, n);
            if (r > 0)
                in += r;
        } else {
            ssize_t r = read(p[0], back, n);
            for (int k = 0; k < r; k++)
                TEST_CHECK(back[k] == (char)((out + k) * 7));
            if (r > 0)
                out += r;
        }
    }
    test_print("%u in, %u out\n", in, out);
}

FN_TEST(epipe_and_sigpipe)
{
    int p[2];
    TEST_SUCC(pipe(p));
    close(p[0]);
    TEST_EQ(events_of(p[1], POLLOUT | POLLIN), POLLOUT | POLLERR);
    signal(SIGPIPE, SIG_IGN);
    TEST_ERRNO(write(p[1], "x", 1), EPIPE);
    TEST_RES(write(p[1], "x", 0), _ret == 0);
    signal(SIGPIPE, SIG_DFL);
    int status = TEST_CHILD_STATUS(write(p[1], "x", 1));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    close(p[1]);
}

static volatile siginfo_t seen;
static void on_info(int s, siginfo_t *info, void *c) { (void)s, (void)c; seen = *info; }

FN_TEST(sigpipe_comes_from_oneself)
{
    int p[2];
    struct sigaction a = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO};
    TEST_SUCC(pipe(p));
    close(p[0]);
    sigaction(SIGPIPE, &a, NULL);
    TEST_ERRNO(write(p[1], "x", 1), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    TEST_EQ(seen.si_signo, SIGPIPE);
    TEST_EQ(seen.si_code, SI_USER);
    TEST_EQ(seen.si_pid, getpid());
}

FN_TEST(poll_masks)
{
    int p[2];
    TEST_SUCC(pipe(p));
    int all = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDHUP;
    TEST_EQ(events_of(p[0], all), 0);
    TEST_EQ(events_of(p[1], all), POLLOUT | POLLWRNORM);
    TEST_SUCC(write(p[1], "x", 1));
    TEST_EQ(events_of(p[0], all), POLLIN | POLLRDNORM);
    close(p[1]);
    TEST_EQ(events_of(p[0], all), POLLIN | POLLRDNORM | POLLHUP);
    TEST_SUCC(read(p[0], big, 1));
    TEST_EQ(events_of(p[0], all), POLLHUP);
    TEST_EQ(events_of(p[0], 0), POLLHUP);
}

FN_TEST(blocking_write_goes_on_until_all_is_written)
{
    int p[2];
    TEST_SUCC(pipe(p));
    for (int i = 0; i < 300000; i++)
        big[i] = i * 11;
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(p[0]);
        TEST_RES(write(p[1], big, 300000), _ret == 300000);
        _exit(0);
    }
    close(p[1]);
    int got = 0;
    ssize_t r;
    while ((r = read(p[0], back + got, 7777)) > 0)
        got += r;
    TEST_EQ(got, 300000);
    TEST_CHECK(!memcmp(big, back, got));
    TEST_REAP(child);
    close(p[0]);
}

FN_TEST(writes_of_pipe_buf_do_not_mix)
{
    int p[2];
    enum { WRITERS = 4, ROUNDS = 40, N = 3000 };
    TEST_SUCC(pipe(p));
    pid_t children[WRITERS];
    for (int w = 0; w < WRITERS; w++)
        if (!(children[w] = TEST_SUCC(fork()))) {
            close(p[0]);
            memset(big, 'a' + w, N);
            for (int i = 0; i < ROUNDS; i++)
                TEST_RES(write(p[1], big, N), _ret == N);
            _exit(0);
        }
    close(p[1]);
    int count[WRITERS] = {0};
    for (int i = 0; i < WRITERS * ROUNDS; i++) {
        for (int got = 0; got < N;) {
            ssize_t r = TEST_SUCC(read(p[0], back + got, N - got));
            TEST_CHECK(r > 0);
            got += r;
        }
        for (int k = 1; k < N; k++)
            TEST_CHECK(back[k] == back[0]);
        count[back[0] - 'a']++;
    }
    for (int w = 0; w < WRITERS; w++) {
        TEST_EQ(count[w], ROUNDS);
        TEST_REAP(children[w]);
    }
    close(p[0]);
}

FN_TEST(interrupted_read)
{
    int p[2];
    struct sigaction a = {.sa_handler = ignore};
    TEST_SUCC(pipe(p));
    sigaction(SIGALRM, &a, NULL);
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(read(p[0], back, 1), EINTR));
    a.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &a, NULL);
    pid_t child = TEST_SUCC(fork());
    if (!child) { /* signals until the reader has been asleep again after one */
        for (int i = 0; i < 3; i++) {
            test_until_asleep(test_pid, test_pid);
            kill(test_pid, SIGALRM);
        }
        TEST_SUCC(write(p[1], "z", 1));
        _exit(0);
    }
    TEST_RES(read(p[0], back, 1), _ret == 1 && back[0] == 'z');
    TEST_REAP(child);
    /* a write that has begun gives what it wrote */
    a.sa_flags = 0;
    sigaction(SIGALRM, &a, NULL);
    TEST_SIGNALLED(SIGALRM, TEST_RES(write(p[1], big, 100000), _ret == 65536));
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(write(p[1], big, 1000), EINTR));
    signal(SIGALRM, SIG_DFL);
}

FN_TEST(resize)
{
    int p[2];
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    TEST_EQ(fcntl(p[0], F_GETPIPE_SZ), 65536);
    TEST_EQ(fcntl(p[0], F_SETPIPE_SZ, 1), 4096);
    TEST_EQ(fcntl(p[0], F_SETPIPE_SZ, 4097), 8192);
    TEST_EQ(fcntl(p[1], F_SETPIPE_SZ, 12289), 16384);
    TEST_EQ(fill(p[1], 4096), 16384);
    TEST_ERRNO(fcntl(p[1], F_SETPIPE_SZ, 8192), EBUSY);
    TEST_ERRNO(fcntl(p[1], F_SETPIPE_SZ, 0), EBUSY);
    TEST_EQ(fcntl(p[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    TEST_EQ(fill(p[1], 4096), (1 << 20) - 16384);
    TEST_ERRNO(fcntl(0, F_GETPIPE_SZ) == -1 ? -1 : fcntl(open("/dev/null", O_RDWR), F_GETPIPE_SZ), EBADF);
}

FN_TEST(packets)
{
    int p[2];
    TEST_SUCC(pipe2(p, O_DIRECT | O_NONBLOCK));
    TEST_EQ(fcntl(p[1], F_GETFL), O_WRONLY | O_DIRECT | O_NONBLOCK);
    TEST_SUCC(write(p[1], "one", 3));
    TEST_SUCC(write(p[1], "three", 5));
    TEST_RES(read(p[0], back, 100), _ret == 3);
    TEST_RES(read(p[0], back, 2), _ret == 2);
    TEST_ERRNO(read(p[0], back, 100), EAGAIN);
    TEST_EQ(fill(p[1], 1), 16);
}

FN_TEST(vectors)
{
    int p[2];
    TEST_SUCC(pipe(p));
    struct iovec v[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    TEST_RES(writev(p[1], v, 3), _ret == 5);
    char a[2], b[9];
    struct iovec w[2] = {{a, 2}, {b, 9}};
    TEST_RES(readv(p[0], w, 2), _ret == 5 && !memcmp(b, "cde", 3));
}

FN_TEST(bad_memory)
{
    int p[2];
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    char *m = TEST_SUCC(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TEST_SUCC(munmap(m + 4096, 4096));
    TEST_ERRNO(write(p[1], BAD, 1), EFAULT);
    TEST_SUCC(write(p[1], "abc", 3));
    TEST_ERRNO(read(p[0], BAD, 3), EFAULT);
    munmap(m, 4096);
}

/* -- FIFOs ---------------------------------------------------------------- */

FN_TEST(fifo_open_waits_for_the_other_side)
{
    unlink("fifo");
    TEST_SUCC(mkfifo("fifo", 0600));
    TEST_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(50);
        int fd = TEST_SUCC(open("fifo", O_WRONLY));
        TEST_SUCC(write(fd, "through", 7));
        _exit(0);
    }
    int fd = TEST_SUCC(open("fifo", O_RDONLY));
    TEST_RES(read(fd, back, 100), _ret == 7);
    TEST_RES(read(fd, back, 100), _ret == 0);
    TEST_REAP(child);
    TEST_EQ(events_of(fd, POLLIN), POLLHUP);
    close(fd);
    unlink("fifo");
}

FN_TEST(fifo_nonblocking_reader)
{
    unlink("fifo");
    TEST_SUCC(mkfifo("fifo", 0600));
    int r = TEST_SUCC(open("fifo", O_RDONLY | O_NONBLOCK));
    TEST_EQ(events_of(r, POLLIN), 0); /* no hang-up before the first writer */
    TEST_RES(read(r, back, 1), _ret == 0);
    int w = TEST_SUCC(open("fifo", O_WRONLY | O_NONBLOCK));
    TEST_ERRNO(read(r, back, 1), EAGAIN);
    close(w);
    TEST_EQ(events_of(r, POLLIN), POLLHUP);
    int both = TEST_SUCC(open("fifo", O_RDWR));
    TEST_EQ(events_of(both, POLLIN | POLLOUT), POLLOUT);
    TEST_EQ(events_of(r, POLLIN), 0);
    TEST_SUCC(write(both, "x", 1));
    TEST_EQ(events_of(both, POLLIN | POLLOUT), POLLIN | POLLOUT);
    close(both);
    TEST_RES(read(r, back, 9), _ret == 1);
    close(r);
    int again = TEST_SUCC(open("fifo", O_RDWR | O_NONBLOCK));
    TEST_ERRNO(read(again, back, 1), EAGAIN);
    close(again);
    unlink("fifo");
}

FN_TEST(fifo_open_interrupted)
{
    unlink("fifo");
    TEST_SUCC(mkfifo("fifo", 0600));
    struct sigaction a = {.sa_handler = ignore};
    sigaction(SIGALRM, &a, NULL);
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(open("fifo", O_RDONLY), EINTR));
    TEST_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    signal(SIGALRM, SIG_DFL);
    struct stat st;
    TEST_SUCC(stat("fifo", &st));
    TEST_EQ(st.st_mode, S_IFIFO | 0600);
    TEST_EQ(st.st_size, 0);
    unlink("fifo");
}

FN_TEST(pipe_opened_again_by_its_proc_name)
{
    int p[2];
    char path[64];
    TEST_SUCC(pipe(p));
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    int w = TEST_SUCC(open(path, O_WRONLY));
    TEST_SUCC(write(w, "q", 1));
    TEST_RES(read(p[0], back, 5), _ret == 1 && back[0] == 'q');
}

FN_TEST(ends_survive_fork_and_dup)
{
    int p[2];
    TEST_SUCC(pipe(p));
    int copy = TEST_SUCC(dup(p[1]));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(p[0]);
        close(p[1]);
        pause_ms(60);
        TEST_SUCC(write(copy, "c", 1));
        _exit(0);
    }
    close(p[1]);
    close(copy);
    TEST_RES(read(p[0], back, 5), _ret == 1);
    TEST_RES(read(p[0], back, 5), _ret == 0);
    TEST_REAP(child);
}



FN_TEST(what_cannot_be_delivered_stays)
{
    int p[2];
    TEST_SUCC(pipe2(p, O_NONBLOCK));
    char *m = TEST_SUCC(mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TEST_SUCC(mprotect(m + 8192, 4096, PROT_READ));
    TEST_SUCC(write(p[1], "abcdef", 6));
    TEST_ERRNO(read(p[0], m + 8192, 6), EFAULT);
    TEST_ERRNO(read(p[0], m + 8190, 6), EFAULT);
    TEST_RES(read(p[0], m, 6), _ret == 6 && !memcmp(m, "abcdef", 6));
    memset(big, 'x', 12288);
    TEST_SUCC(write(p[1], big, 12288));
    TEST_RES(read(p[0], m + 100, 12288), _ret == 4096);
    TEST_RES(read(p[0], m, 8192), _ret == 8192);
    TEST_ERRNO(read(p[0], m, 1), EAGAIN);
    munmap(m, 12288);
}
