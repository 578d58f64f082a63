/* AF_UNIX sockets: timeouts and signals, many messages in one call, options, errors. */
#include "socket.h"

static void on_alarm(int s) { (void)s; }

FN_TEST(timeouts_and_signals)
{
    int s[2];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    struct timeval tv = {0, 40000};
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    TEST_ERRNO(read(s[0], back, 1), EAGAIN);
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &a, NULL);
    tv = (struct timeval){5000, 0};
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(read(s[0], back, 1), EINTR)); /* a timeout is never restarted */
    tv = (struct timeval){0, 0};
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        for (int i = 0; i < 3; i++) {
            test_until_asleep(test_pid, test_pid);
            kill(test_pid, SIGALRM);
        }
        TEST_SUCC(write(s[1], "x", 1));
        _exit(0);
    }
    TEST_RES(read(s[0], back, 1), _ret == 1);
    TEST_REAP(child);
    signal(SIGALRM, SIG_DFL);
}

FN_TEST(many_messages_at_once)
{
    int s[2];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    struct mmsghdr m[4];
    struct iovec v[4] = {{"a", 1}, {"bb", 2}, {"ccc", 3}, {"dddd", 4}};
    memset(m, 0, sizeof m);
    for (int i = 0; i < 4; i++)
        m[i].msg_hdr.msg_iov = v + i, m[i].msg_hdr.msg_iovlen = 1;
    TEST_EQ(sendmmsg(s[0], m, 4, 0), 4);
    for (int i = 0; i < 4; i++) {
        TEST_EQ(m[i].msg_len, i + 1);
        v[i] = (struct iovec){back + i * 100, 100};
    }
    TEST_EQ(recvmmsg(s[1], m, 4, MSG_WAITFORONE, NULL), 4);
    for (int i = 0; i < 4; i++)
        TEST_EQ(m[i].msg_len, i + 1);
    TEST_ERRNO(recvmmsg(s[1], m, 4, MSG_DONTWAIT, NULL), EAGAIN);
}

FN_TEST(options)
{
    int s[2], v;
    socklen_t n;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    test_print("type %d domain %d protocol %d error %d sndbuf %d rcvbuf %d accept %d lowat %d keep %d\n",
               option(s[0], SO_TYPE), option(s[0], SO_DOMAIN), option(s[0], SO_PROTOCOL), option(s[0], SO_ERROR),
               option(s[0], SO_SNDBUF), option(s[0], SO_RCVBUF), option(s[0], SO_ACCEPTCONN), option(s[0], SO_RCVLOWAT),
               option(s[0], SO_KEEPALIVE));
    v = 10000;
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof v));
    TEST_EQ(option(s[0], SO_SNDBUF), 20000);
    v = 1;
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof v));
    test_print("least sndbuf %d\n", option(s[0], SO_SNDBUF));
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVBUF, &v, sizeof v));
    test_print("least rcvbuf %d\n", option(s[0], SO_RCVBUF));
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &v, sizeof v));
    TEST_EQ(option(s[0], SO_REUSEADDR), 1);
    n = sizeof v;
    TEST_ERRNO(getsockopt(s[0], SOL_SOCKET, 9999, &v, &n), ENOPROTOOPT);
    TEST_ERRNO(getsockopt(s[0], 6, 1, &v, &n), EOPNOTSUPP);
    TEST_ERRNO(setsockopt(s[0], 6, 1, &v, n), EOPNOTSUPP);
    TEST_ERRNO(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, 2), EINVAL);
    n = 1;
    v = 0;
    TEST_SUCC(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &n));
    TEST_EQ(n, 1);
    TEST_EQ(v, SOCK_SEQPACKET);
}

FN_TEST(errors)
{
    int p[2], s = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    TEST_SUCC(pipe(p));
    TEST_ERRNO(send(p[1], "x", 1, 0), ENOTSOCK);
    TEST_ERRNO(recv(999, back, 1, 0), EBADF);
    TEST_ERRNO(socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT);
    TEST_ERRNO(socket(AF_UNIX, 4, 0), ESOCKTNOSUPPORT);
    TEST_ERRNO(socket(AF_UNIX, 99, 0), EINVAL);
    TEST_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    TEST_ERRNO(socket(1000, SOCK_STREAM, 0), EAFNOSUPPORT);
    TEST_ERRNO(bind(s, (void *)&a, 1), EINVAL);
    TEST_ERRNO(bind(s, (void *)&a, 111), EINVAL);
    TEST_ERRNO(bind(s, (void *)&a, 1000), EINVAL);
    a.sun_family = AF_INET;
    TEST_ERRNO(bind(s, (void *)&a, 20), EINVAL);
    TEST_ERRNO(connect(s, (void *)&a, 20), EINVAL);
    TEST_ERRNO(listen(s, 5), EINVAL);
    TEST_ERRNO(getpeername(s, (void *)&a, &(socklen_t){sizeof a}), ENOTCONN);
    TEST_ERRNO(write(s, "x", 1), ENOTCONN);
    TEST_ERRNO(read(s, back, 1), EINVAL);
    TEST_SUCC(shutdown(s, SHUT_WR));
    TEST_ERRNO(send(s, "x", 1, MSG_NOSIGNAL), ENOTCONN);
}

FN_TEST(unconnected_poll)
{
    for (int k = 0; k < 3; k++) {
        int s = TEST_SUCC(socket(AF_UNIX, k == 0 ? SOCK_STREAM : k == 1 ? SOCK_DGRAM : SOCK_SEQPACKET, 0));
        test_print("type %d: %x\n", k, events_of(s));
        close(s);
    }
}

FN_TEST(bad_pointers)
{
    int s[2];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_ERRNO(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 8L), EFAULT);
    TEST_ERRNO(syscall(SYS_sendto, s[0], 8L, 5, 0, 0, 0), EFAULT);
    TEST_ERRNO(syscall(SYS_sendmsg, s[0], 8L, 0), EFAULT);
    TEST_ERRNO(syscall(SYS_recvmsg, s[0], 8L, 0), EFAULT);
    TEST_ERRNO(syscall(SYS_getsockname, s[0], 8L, 8L), EFAULT);
    TEST_ERRNO(syscall(SYS_bind, s[0], 8L, 10), EFAULT);
    struct msghdr m = {.msg_iovlen = 5000};
    TEST_ERRNO(sendmsg(s[0], &m, 0), EMSGSIZE);
    TEST_SUCC(write(s[0], "abc", 3));
    TEST_ERRNO(syscall(SYS_recvfrom, s[1], 8L, 3, 0, 0, 0), EFAULT);
}

FN_TEST(a_socket_is)
{
    int s[2];
    struct stat st;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(fstat(s[0], &st));
    TEST_EQ(st.st_mode, S_IFSOCK | 0777);
    char path[64], link[64] = "", want[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", s[0]);
    snprintf(want, sizeof want, "socket:[%lu]", (unsigned long)st.st_ino);
    TEST_SUCC(readlink(path, link, sizeof link - 1));
    TEST_STR(link, want);
    TEST_ERRNO(lseek(s[0], 0, SEEK_SET), ESPIPE);
    TEST_ERRNO(open(path, O_RDWR), ENXIO);
    TEST_ERRNO(ftruncate(s[0], 0), EINVAL);
}
