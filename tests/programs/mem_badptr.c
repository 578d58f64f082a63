/* What if you pass ridiculous pointers to every system call that takes one? Prints each answer; the harness compares
 * with the host's. Nothing may crash, and the process must be as good as new afterwards. */
#define TEST_NO_MAIN
#include "test.h"
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#define FUTEX_WAIT 0 /* linux/futex.h, which musl-gcc does not see */
#define FUTEX_WAKE 1
#define FUTEX_PRIVATE_FLAG 128

/* Placeholders among the arguments, replaced before the call. */
enum { BAD = 0x0bad0bad, GOOD, FILE_FD, DIR_FD, PIPE_R, PIPE_W, SOCKET, EPOLL, TIMER_FD, EVENT_FD, PATH, BADVEC, TABLE_END };

static const struct call {
    const char *name;
    long number, args[6];
} calls[] = {
#define C(name, ...) {#name, SYS_##name, {__VA_ARGS__}}
#define C2(label, name, ...) {label, SYS_##name, {__VA_ARGS__}}
    /* files */
    C(read, FILE_FD, BAD, 10),
    C2("read pipe", read, PIPE_R, BAD, 4),
    C2("read event", read, EVENT_FD, BAD, 8),
    C(write, FILE_FD, BAD, 10),
    C2("write pipe", write, PIPE_W, BAD, 10),
    C2("write event", write, EVENT_FD, BAD, 8),
    C(pread64, FILE_FD, BAD, 10, 0),
    C(pwrite64, FILE_FD, BAD, 10, 0),
    C(readv, FILE_FD, BAD, 2),
    C2("readv base", readv, FILE_FD, BADVEC, 1),
    C(writev, FILE_FD, BAD, 2),
    C2("writev base", writev, FILE_FD, BADVEC, 1),
    C(preadv, FILE_FD, BAD, 2, 0, 0),
    C(pwritev, FILE_FD, BAD, 2, 0, 0),
    C(open, BAD, O_RDONLY),
    C(openat, AT_FDCWD, BAD, O_RDONLY),
    C(creat, BAD, 0600),
    C(stat, BAD, GOOD),
    C2("stat buf", stat, PATH, BAD),
    C(lstat, BAD, GOOD),
    C2("lstat buf", lstat, PATH, BAD),
    C(fstat, FILE_FD, BAD),
    C2("newfstatat path", newfstatat, AT_FDCWD, BAD, GOOD, 0),
    C2("newfstatat buf", newfstatat, AT_FDCWD, PATH, BAD, 0),
    C2("statx path", statx, AT_FDCWD, BAD, 0, 0xfff, GOOD),
    C2("statx buf", statx, AT_FDCWD, PATH, 0, 0xfff, BAD),
    C(statfs, BAD, GOOD),
    C2("statfs buf", statfs, PATH, BAD),
    C(fstatfs, FILE_FD, BAD),
    C(access, BAD, 0),
    C(faccessat, AT_FDCWD, BAD, 0),
    C(chdir, BAD),
    C(chroot, BAD),
    C(mkdir, BAD, 0700),
    C(mkdirat, AT_FDCWD, BAD, 0700),
    C(rmdir, BAD),
    C(unlink, BAD),
    C(unlinkat, AT_FDCWD, BAD, 0),
    C(rename, BAD, PATH),
    C2("rename new", rename, PATH, BAD),
    C(renameat2, AT_FDCWD, BAD, AT_FDCWD, PATH, 0),
    C(link, BAD, PATH),
    C2("link new", link, PATH, BAD),
    C(linkat, AT_FDCWD, BAD, AT_FDCWD, PATH, 0),
    C(symlink, BAD, PATH),
    C2("symlink new", symlink, PATH, BAD),
    C(readlink, BAD, GOOD, 100),
    C2("readlink buf", readlink, (long)"/proc/self/exe", BAD, 100),
    C(readlinkat, AT_FDCWD, BAD, GOOD, 100),
    C(chmod, BAD, 0600),
    C(fchmodat, AT_FDCWD, BAD, 0600),
    C(chown, BAD, -1, -1),
    C(lchown, BAD, -1, -1),
    C(fchownat, AT_FDCWD, BAD, -1, -1, 0),
    C(truncate, BAD, 0),
    C(mknod, BAD, S_IFIFO | 0600, 0),
    C(mknodat, AT_FDCWD, BAD, S_IFIFO | 0600, 0),
    C(utime, BAD, 0),
    C2("utime times", utime, PATH, BAD),
    C(utimes, BAD, 0),
    C2("utimes times", utimes, PATH, BAD),
    C2("utimensat path", utimensat, AT_FDCWD, BAD, 0, 0),
    C2("utimensat times", utimensat, AT_FDCWD, PATH, BAD, 0),
    C(getdents, DIR_FD, BAD, 1024),
    C(getdents64, DIR_FD, BAD, 1024),
    C(getcwd, BAD, 200),
    C2("fcntl getlk", fcntl, FILE_FD, F_GETLK, BAD),
    C2("fcntl setlk", fcntl, FILE_FD, F_SETLK, BAD),
    C2("ioctl fionread", ioctl, PIPE_R, 0x541b, BAD),
    C2("ioctl fionbio", ioctl, PIPE_R, 0x5421, BAD),
    C2("ioctl tcgets", ioctl, PIPE_R, 0x5401, BAD),
    C(memfd_create, BAD, 0),
    C2("sendfile offset", sendfile, PIPE_W, FILE_FD, BAD, 1),
    C2("copy_file_range in", copy_file_range, FILE_FD, BAD, FILE_FD, 0, 1, 0),
    C2("splice offset", splice, FILE_FD, BAD, PIPE_W, 0, 1, 0),
    C(vmsplice, PIPE_W, BAD, 1, 0),
    C2("getxattr path", getxattr, BAD, PATH, GOOD, 10),
    /* pipes, polls, sockets */
    C(pipe, BAD),
    C(pipe2, BAD, O_CLOEXEC),
    C(poll, BAD, 1, 0),
    C(ppoll, BAD, 1, GOOD, 0, 8),
    C2("ppoll timeout", ppoll, 0, 0, BAD, 0, 8),
    C2("ppoll mask", ppoll, 0, 0, GOOD, BAD, 8),
    C2("select read", select, 1, BAD, 0, 0, GOOD),
    C2("select write", select, 1, 0, BAD, 0, GOOD),
    C2("select timeout", select, 0, 0, 0, 0, BAD),
    C2("pselect6 set", pselect6, 1, BAD, 0, 0, GOOD, 0),
    C2("pselect6 timeout", pselect6, 0, 0, 0, 0, BAD, 0),
    C2("pselect6 mask", pselect6, 0, 0, 0, 0, GOOD, BAD),
    C2("epoll_ctl", epoll_ctl, EPOLL, EPOLL_CTL_MOD, EVENT_FD, BAD),
    C2("epoll_wait", epoll_wait, EPOLL, BAD, 1, 0),
    C(socketpair, AF_UNIX, SOCK_STREAM, 0, BAD),
    C(bind, SOCKET, BAD, 16),
    C(connect, SOCKET, BAD, 16),
    C2("getsockname", getsockname, SOCKET, BAD, GOOD),
    C2("getsockname len", getsockname, SOCKET, GOOD, BAD),
    C2("getsockopt", getsockopt, SOCKET, SOL_SOCKET, SO_TYPE, BAD, GOOD),
    C2("getsockopt len", getsockopt, SOCKET, SOL_SOCKET, SO_TYPE, GOOD, BAD),
    C2("setsockopt", setsockopt, SOCKET, SOL_SOCKET, SO_RCVBUF, BAD, 4),
    C2("sendto", sendto, SOCKET, BAD, 10, MSG_DONTWAIT, 0, 0),
    C2("recvfrom", recvfrom, SOCKET, BAD, 10, MSG_DONTWAIT, 0, 0),
    C(sendmsg, SOCKET, BAD, MSG_DONTWAIT),
    C(recvmsg, SOCKET, BAD, MSG_DONTWAIT),
    C(signalfd4, -1, BAD, 8, 0),
    C2("timerfd_settime", timerfd_settime, TIMER_FD, 0, BAD, 0),
    C2("timerfd_gettime", timerfd_gettime, TIMER_FD, BAD),
    /* time */
    C(nanosleep, BAD, 0),
    C(clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, 0),
    C(clock_gettime, CLOCK_MONOTONIC, BAD),
    C(clock_getres, CLOCK_MONOTONIC, BAD),
    C(gettimeofday, BAD, 0),
    C2("gettimeofday tz", gettimeofday, 0, BAD),
    C(time, BAD),
    C(times, BAD),
    C(getitimer, ITIMER_REAL, BAD),
    C(setitimer, ITIMER_VIRTUAL, BAD, 0),
    C2("setitimer old", setitimer, ITIMER_VIRTUAL, GOOD, BAD),
    C2("timer_create event", timer_create, CLOCK_MONOTONIC, BAD, GOOD),
    /* processes */
    C2("execve path", execve, BAD, 0, 0),
    C2("execve argv", execve, (long)"/bin/true", BAD, 0),
    C2("execve envp", execve, (long)"/bin/true", 0, BAD),
    C2("execveat path", execveat, AT_FDCWD, BAD, 0, 0, 0),
    C2("wait4 rusage", getrusage, RUSAGE_SELF, BAD),
    C(getrlimit, RLIMIT_NOFILE, BAD),
    C(setrlimit, RLIMIT_CORE, BAD),
    C2("prlimit64 new", prlimit64, 0, RLIMIT_CORE, BAD, 0),
    C2("prlimit64 old", prlimit64, 0, RLIMIT_CORE, 0, BAD),
    C2("prctl get_name", prctl, 16, BAD),
    C2("prctl set_name", prctl, 15, BAD),
    C2("arch_prctl get_fs", arch_prctl, 0x1003, BAD),
    C(getgroups, 100, BAD),
    C(setgroups, 1, BAD),
    C(getresuid, BAD, GOOD, GOOD),
    C(getresgid, GOOD, GOOD, BAD),
    C(sched_getaffinity, 0, 128, BAD),
    C(sched_setaffinity, 0, 8, BAD),
    C(sched_getparam, 0, BAD),
    C(sched_setparam, 0, BAD),
    C2("sched_rr_get_interval", sched_rr_get_interval, 0, BAD),
    C(get_robust_list, 0, BAD, GOOD),
    C2("futex wait", futex, BAD, FUTEX_WAIT, 0, 0, 0, 0),
    C2("futex wait private", futex, BAD, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, GOOD, 0, 0),
    C2("futex timeout", futex, GOOD, FUTEX_WAIT, 0, BAD, 0, 0),
    C2("clone3", clone3, BAD, 64),
    C(getcpu, BAD, 0, 0),
    /* signals */
    C2("rt_sigaction new", rt_sigaction, SIGUSR1, BAD, 0, 8),
    C2("rt_sigaction old", rt_sigaction, SIGUSR1, 0, BAD, 8),
    C2("rt_sigprocmask set", rt_sigprocmask, SIG_BLOCK, BAD, 0, 8),
    C2("rt_sigprocmask old", rt_sigprocmask, SIG_BLOCK, 0, BAD, 8),
    C(rt_sigpending, BAD, 8),
    C(rt_sigsuspend, BAD, 8),
    C2("rt_sigtimedwait set", rt_sigtimedwait, BAD, 0, GOOD, 8),
    C2("rt_sigtimedwait timeout", rt_sigtimedwait, GOOD, 0, BAD, 8),
    C2("rt_sigqueueinfo", rt_sigqueueinfo, 0x7fffffff, SIGUSR1, BAD),
    C2("sigaltstack new", sigaltstack, BAD, 0),
    C2("sigaltstack old", sigaltstack, 0, BAD),
    /* the system */
    C(uname, BAD),
    C(sysinfo, BAD),
    C(getrandom, BAD, 10, 0),
    C2("mincore", mincore, GOOD, 4096, BAD),
    C2("process_vm_readv", process_vm_readv, 0, BAD, 1, 0, 0, 0),
    C2("mount", mount, BAD, BAD, BAD, 0, 0),
};

static unsigned char *good;
static struct iovec *bad_vector;
static const char path[] = "badptr.tmp";

static struct kind {
    const char *name;
    void *pointer;
    int readable;
} kinds[] = {{"null+8", (void *)8, 0},       {"none", NULL, 0},
             {"read-only", NULL, 1},          {"page end", NULL, 0},
             {"kernel", (void *)0xffffffff81000000UL, 0}, {"non-canonical", (void *)0x8000000000000000UL, 0},
             {"last", (void *)-1L, 0}};

int main(void)
{
    int fds[TABLE_END - BAD] = {0}, pair[2], sockets[2];
    test_pid = getpid();
    test_name = "setup";
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(fd, "0123456789abcdef", 16);
    pipe(pair);
    socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
    write(sockets[1], "abcdefgh", 8);
    fds[FILE_FD - BAD] = fd;
    fds[DIR_FD - BAD] = open(".", O_RDONLY | O_DIRECTORY);
    fds[PIPE_R - BAD] = pair[0];
    fds[PIPE_W - BAD] = pair[1];
    fds[SOCKET - BAD] = sockets[0];
    fds[EPOLL - BAD] = epoll_create1(0);
    fds[TIMER_FD - BAD] = timerfd_create(CLOCK_MONOTONIC, 0);
    fds[EVENT_FD - BAD] = eventfd(1, 0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(fds[EPOLL - BAD], EPOLL_CTL_ADD, fds[EVENT_FD - BAD], &event);
    good = test_map(TEST_PAGE);
    bad_vector = (void *)(good + 2048);
    kinds[1].pointer = mmap(NULL, TEST_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kinds[2].pointer = mmap(NULL, TEST_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *two = test_map(2 * TEST_PAGE);
    munmap(two + TEST_PAGE, TEST_PAGE);
    kinds[3].pointer = two + TEST_PAGE - 1;

    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        const struct call *c = &calls[i];
        test_print("%s:", c->name);
        for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            long a[6];
            /* A read-only page is a fine place to read from: with that, ask only the calls that write. */
            memset(good, 0, 2048);
            two[TEST_PAGE - 1] = '/'; /* a string that runs off the end */
            lseek(fd, 0, SEEK_SET);
            lseek(fds[DIR_FD - BAD], 0, SEEK_SET);
            bad_vector->iov_base = kinds[k].pointer;
            bad_vector->iov_len = 10;
            *(int *)good = 128;
            if (strncmp(c->name, "read pipe", 9) == 0)
                write(pair[1], "12345678", 4);
            if (strcmp(c->name, "read event") == 0)
                write(fds[EVENT_FD - BAD], &(uint64_t){1}, 8); /* a read that fails has eaten the count */
            int skip = 0;
            for (int n = 0; n < 6; n++) {
                long v = c->args[n];
                a[n] = v == BAD      ? (long)kinds[k].pointer
                       : v == GOOD   ? (long)good
                       : v == PATH   ? (long)path
                       : v == BADVEC ? (long)bad_vector
                       : v > BAD && v < TABLE_END ? fds[v - BAD]
                                                  : v;
            }
            if (strstr(c->name, "timeout") || strstr(c->name, "ppoll") || strstr(c->name, "select") ||
                strstr(c->name, "rt_sigtimedwait") || strstr(c->name, "setitimer"))
                *(int *)good = 0;
            if (kinds[k].readable)
                skip = !strstr("read pread64 readv base fstat stat buf lstat buf newfstatat buf statx buf getcwd pipe pipe2 "
                               "uname sysinfo getrandom clock_gettime times getdents64 getrlimit rt_sigpending",
                               c->name);
            if (skip)
                continue;
            long r = syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
            if (r >= 0 && (strstr(c->name, "read") || strstr(c->name, "write")))
                test_print(" %s=%ld", kinds[k].name, r);
            else
                test_print(" %s=%s", kinds[k].name, r == -1 ? test_errno_name(errno) : "0");
            if (strncmp(c->name, "read pipe", 9) == 0) {
                fcntl(pair[0], F_SETFL, O_NONBLOCK);
                read(pair[0], good, 100);
                fcntl(pair[0], F_SETFL, 0);
            }
        }
        test_print("\n");
    }
    unlink(path);
    test_print("still here %d\n", getpid() == test_pid);
    return 0;
}
