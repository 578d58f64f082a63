/* AF_UNIX sockets: pairs, streams, datagrams, and servers by name. */
#include "socket.h"

FN_TEST(pair_of_streams)
{
    int s[2];
    char b[16];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
    TEST_EQ(fcntl(s[0], F_GETFD), FD_CLOEXEC);
    TEST_EQ(fcntl(s[0], F_GETFL), O_RDWR);
    TEST_RES(write(s[0], "hello", 5), _ret == 5);
    TEST_RES(send(s[0], " you", 4, 0), _ret == 4);
    TEST_RES(recv(s[1], b, 16, MSG_PEEK), _ret == 9);
    TEST_RES(read(s[1], b, 3), _ret == 3);
    TEST_RES(recv(s[1], b, 16, 0), _ret == 6 && !memcmp(b, "lo you", 6));
    TEST_ERRNO(recv(s[1], b, 16, MSG_DONTWAIT), EAGAIN);
    TEST_RES(write(s[1], "back", 4), _ret == 4);
    TEST_RES(read(s[0], b, 16), _ret == 4);
    show_name("sock", s[0], getsockname);
    show_name("peer", s[0], getpeername);
    TEST_EQ(events_of(s[0]), POLLOUT);
    close(s[1]);
    TEST_EQ(events_of(s[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    TEST_RES(read(s[0], b, 16), _ret == 0);
    TEST_ERRNO(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    int status = TEST_CHILD_STATUS(write(s[0], "x", 1));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

FN_TEST(unread_data_means_reset)
{
    int s[2];
    char b[16];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(write(s[0], "abc", 3));
    TEST_SUCC(write(s[1], "abc", 3));
    close(s[1]);
    TEST_EQ(events_of(s[0]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
    TEST_RES(read(s[0], b, 16), _ret == 3);
    TEST_ERRNO(read(s[0], b, 16), ECONNRESET);
    TEST_RES(read(s[0], b, 16), _ret == 0);
}

FN_TEST(how_much_fits)
{
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    static const int sizes[] = {1, 192, 193, 1000, 3776, 3777, 4096, 8000, 16064, 16065, 32768, 36545, 65536, 212000, 500000};
    for (int k = 0; k < 3; k++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int s[2], count = 0, n = -1, out = -1;
            long total = 0, r;
            TEST_SUCC(socketpair(AF_UNIX, kinds[k] | SOCK_NONBLOCK, 0, s));
            while ((r = write(s[0], big, sizes[i])) > 0)
                total += r, count++;
            int error = errno;
            ioctl(s[1], FIONREAD, &n);
            ioctl(s[0], TIOCOUTQ, &out);
            test_print("type %d size %d: %d writes, %ld bytes, %s; inq %d outq %d poll %x", kinds[k], sizes[i], count,
                       total, test_errno_name(error), n, out, events_of(s[0]));
            int reads = 0;
            while (!(events_of(s[0]) & POLLOUT) && read(s[1], back, sizes[i]) > 0)
                reads++;
            test_print(", writable after %d reads\n", reads);
            close(s[0]), close(s[1]);
        }
}

FN_TEST(blocking_transfer)
{
    int s[2];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    for (int i = 0; i < 700000; i++)
        big[i] = i * 13;
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(s[0]);
        TEST_RES(write(s[1], big, 700000), _ret == 700000);
        _exit(0);
    }
    close(s[1]);
    TEST_RES(recv(s[0], back, 700000, MSG_WAITALL), _ret == 700000);
    TEST_CHECK(!memcmp(big, back, 700000));
    TEST_RES(recv(s[0], back, 10, MSG_WAITALL), _ret == 0);
    TEST_REAP(child);
}

FN_TEST(half_close)
{
    int s[2];
    char b[8];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(write(s[0], "last", 4));
    TEST_SUCC(shutdown(s[0], SHUT_WR));
    TEST_ERRNO(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    TEST_EQ(events_of(s[1]), POLLIN | POLLOUT | POLLRDHUP);
    TEST_RES(read(s[1], b, 8), _ret == 4);
    TEST_RES(read(s[1], b, 8), _ret == 0);
    TEST_SUCC(write(s[1], "yet", 3));
    TEST_RES(read(s[0], b, 8), _ret == 3);
    TEST_SUCC(shutdown(s[0], SHUT_RD));
    TEST_ERRNO(send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    TEST_EQ(events_of(s[1]), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    TEST_ERRNO(shutdown(s[0], 3), EINVAL);
}

FN_TEST(datagrams)
{
    int s[2];
    char b[16];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    TEST_SUCC(send(s[0], "one", 3, 0));
    TEST_SUCC(send(s[0], "", 0, 0));
    TEST_SUCC(send(s[0], "three!", 6, 0));
    int n;
    TEST_SUCC(ioctl(s[1], FIONREAD, &n));
    TEST_EQ(n, 3);
    TEST_RES(recv(s[1], b, 16, 0), _ret == 3);
    TEST_RES(recv(s[1], b, 16, 0), _ret == 0);
    TEST_RES(recv(s[1], b, 2, MSG_PEEK | MSG_TRUNC), _ret == 6);
    struct iovec v = {b, 2};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    TEST_RES(recvmsg(s[1], &m, 0), _ret == 2 && m.msg_flags == MSG_TRUNC);
    TEST_ERRNO(recv(s[1], b, 16, MSG_DONTWAIT), EAGAIN);
    TEST_ERRNO(send(s[0], big, 300000, 0), EMSGSIZE);
    close(s[1]);
    TEST_ERRNO(send(s[0], "x", 1, 0), ECONNREFUSED);
    test_print("poll %x\n", events_of(s[0]));
    TEST_ERRNO(send(s[0], "x", 1, 0), ENOTCONN);
}

FN_TEST(seqpackets)
{
    int s[2];
    char b[16];
    TEST_SUCC(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    TEST_SUCC(write(s[0], "one", 3));
    TEST_SUCC(write(s[0], "seven77", 7));
    TEST_RES(read(s[1], b, 16), _ret == 3);
    TEST_RES(read(s[1], b, 3), _ret == 3);
    close(s[0]);
    TEST_RES(read(s[1], b, 16), _ret == 0);
    TEST_ERRNO(send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    test_print("poll %x\n", events_of(s[1]));
}

static void serve(const char *path, int kind)
{
    int l = TEST_SUCC(socket(AF_UNIX, kind, 0)), c = TEST_SUCC(socket(AF_UNIX, kind, 0));
    TEST_ERRNO(connect_to(c, path), *path == '@' ? ECONNREFUSED : ENOENT);
    TEST_SUCC(bind_to(l, path));
    TEST_ERRNO(connect_to(c, path), ECONNREFUSED);
    TEST_ERRNO(accept(l, NULL, NULL), EINVAL);
    TEST_SUCC(listen(l, 5));
    TEST_EQ(option(l, SO_ACCEPTCONN), 1);
    show_name("listener", l, getsockname);
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        close(l);
        test_until_asleep(test_pid, test_pid); /* in accept */
        TEST_SUCC(connect_to(c, path));
        TEST_SUCC(write(c, "question", 8));
        TEST_RES(read(c, back, 100), _ret == 6 && !memcmp(back, "answer", 6));
        show_name("client", c, getsockname);
        show_name("client's peer", c, getpeername);
        TEST_RES(read(c, back, 100), _ret == 0);
        _exit(0);
    }
    struct sockaddr_un a;
    socklen_t n = sizeof a;
    TEST_EQ(events_of(l), 0);
    int s = TEST_SUCC(accept4(l, (void *)&a, &n, SOCK_CLOEXEC));
    TEST_EQ(n, 2);
    TEST_EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
    show_name("server", s, getsockname);
    struct ucred u;
    n = sizeof u;
    TEST_SUCC(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &u, &n));
    TEST_EQ(u.pid, child);
    TEST_EQ(u.uid, getuid());
    TEST_RES(read(s, back, 100), _ret == 8);
    TEST_SUCC(write(s, "answer", 6));
    close(s);
    TEST_REAP(child);
    close(l);
    TEST_ERRNO(connect_to(c, path), ECONNREFUSED);
}

FN_TEST(path_names)
{
    unlink("sock");
    serve("sock", SOCK_STREAM);
    struct stat st;
    TEST_SUCC(stat("sock", &st));
    TEST_EQ(st.st_mode & S_IFMT, S_IFSOCK);
    TEST_ERRNO(open("sock", O_RDWR), ENXIO);
    int s = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0));
    TEST_ERRNO(bind_to(s, "sock"), EADDRINUSE);
    TEST_SUCC(unlink("sock"));
    TEST_SUCC(bind_to(s, "sock"));
    TEST_ERRNO(bind_to(s, "sock2"), EINVAL);
    int d = TEST_SUCC(socket(AF_UNIX, SOCK_DGRAM, 0));
    TEST_ERRNO(connect_to(d, "sock"), EPROTOTYPE);
    TEST_ERRNO(bind_to(d, "nowhere/sock"), ENOENT);
    unlink("sock");
    int f = TEST_SUCC(open("sock", O_CREAT | O_RDWR, 0600));
    TEST_ERRNO(connect_to(d, "sock"), ECONNREFUSED);
    close(f);
    unlink("sock");
    serve("sock", SOCK_SEQPACKET);
    unlink("sock");
}

FN_TEST(abstract_names)
{
    const char *name = test_own_name("@forkyard-test-"); /* all runs on the host share them */
    serve(name, SOCK_STREAM);
    serve(name, SOCK_SEQPACKET);
    int s = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0)), t = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0));
    TEST_SUCC(bind_to(s, name));
    TEST_ERRNO(bind_to(t, name), EADDRINUSE);
    close(s);
    TEST_SUCC(bind_to(t, name));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t n = sizeof a;
    s = TEST_SUCC(socket(AF_UNIX, SOCK_DGRAM, 0));
    TEST_SUCC(bind(s, (void *)&a, 2));
    TEST_SUCC(getsockname(s, (void *)&a, &n));
    TEST_EQ(n, 8);
    TEST_EQ(a.sun_path[0], 0);
}

FN_TEST(datagram_servers)
{
    int a = TEST_SUCC(socket(AF_UNIX, SOCK_DGRAM, 0)), b = TEST_SUCC(socket(AF_UNIX, SOCK_DGRAM, 0)),
        c = TEST_SUCC(socket(AF_UNIX, SOCK_DGRAM, 0));
    struct sockaddr_un n;
    unlink("d1"), unlink("d2");
    TEST_SUCC(bind_to(a, "d1"));
    TEST_SUCC(bind_to(b, "d2"));
    socklen_t l = name_of(&n, "d1");
    TEST_SUCC(sendto(b, "from b", 6, 0, (void *)&n, l));
    TEST_SUCC(sendto(c, "nameless", 8, 0, (void *)&n, l));
    struct sockaddr_un from;
    socklen_t fl = sizeof from;
    TEST_RES(recvfrom(a, back, 100, 0, (void *)&from, &fl), _ret == 6);
    TEST_EQ(fl, 5);
    TEST_STR(from.sun_path, "d2");
    fl = sizeof from;
    TEST_RES(recvfrom(a, back, 100, 0, (void *)&from, &fl), _ret == 8);
    TEST_EQ(fl, 0);
    TEST_SUCC(connect_to(b, "d1"));
    TEST_SUCC(connect_to(a, "d2"));
    TEST_ERRNO(sendto(c, "x", 1, 0, (void *)&n, l), EPERM);
    TEST_SUCC(write(b, "connected", 9));
    TEST_RES(read(a, back, 100), _ret == 9);
    n.sun_family = AF_UNSPEC;
    TEST_SUCC(connect(b, (void *)&n, sizeof n));
    TEST_ERRNO(write(b, "x", 1), ENOTCONN);
    TEST_ERRNO(listen(a, 5), EOPNOTSUPP);
    TEST_ERRNO(accept(a, NULL, NULL), EOPNOTSUPP);
    unlink("d1"), unlink("d2");
}

FN_TEST(backlog)
{
    const char *name = test_own_name("@forkyard-backlog-");
    int l = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0)), c[8], n = 0;
    TEST_SUCC(bind_to(l, name));
    TEST_SUCC(listen(l, 2));
    for (int i = 0; i < 8; i++) {
        c[i] = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (connect_to(c[i], name) == 0)
            n++;
        else
            TEST_EQ(errno, EAGAIN);
    }
    TEST_EQ(n, 3);
    TEST_EQ(events_of(l), POLLIN);
    TEST_SUCC(write(c[0], "early", 5));
    int s = TEST_SUCC(accept(l, NULL, NULL));
    TEST_RES(read(s, back, 100), _ret == 5);
    TEST_SUCC(connect_to(c[7], name));
    close(l);
    TEST_ERRNO(read(c[1], back, 1), ECONNRESET);
    TEST_SUCC(read(c[0], back, 0));
    TEST_ERRNO(connect_to(c[0], name), ECONNREFUSED);
}
