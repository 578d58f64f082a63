/* AF_UNIX sockets: pairs, names, connections, messages, descriptors and credentials that travel, buffers, errors. */
#include "test.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

static char big[1 << 20], back[1 << 20];

static int events_of(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};
    poll(&p, 1, 0);
    return p.revents;
}

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) == -1 && errno == EINTR)
        ;
}

static socklen_t name_of(struct sockaddr_un *a, const char *path)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (*path == '@') {
        strcpy(a->sun_path + 1, path + 1);
        return offsetof(struct sockaddr_un, sun_path) + strlen(path);
    }
    strcpy(a->sun_path, path);
    return sizeof *a;
}

static int bind_to(int s, const char *path)
{
    struct sockaddr_un a;
    socklen_t n = name_of(&a, path);
    return bind(s, (void *)&a, n);
}

static int connect_to(int s, const char *path)
{
    struct sockaddr_un a;
    socklen_t n = name_of(&a, path);
    return connect(s, (void *)&a, n);
}

static void show_name(const char *what, int s, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_un a;
    socklen_t n = sizeof a;
    memset(&a, 'z', sizeof a);
    if (get(s, (void *)&a, &n)) {
        test_print("%s: %s\n", what, test_errno_name(errno));
        return;
    }
    char text[120];
    int k = 0;
    for (int i = 0; i < (int)n - 2; i++)
        text[k++] = a.sun_path[i] ? a.sun_path[i] : '@';
    text[k] = 0;
    test_print("%s: family %d length %d \"%s\"\n", what, a.sun_family, n, text);
}

static int option(int s, int name)
{
    int v = -99;
    socklen_t n = sizeof v;
    TEST_SUCC(getsockopt(s, SOL_SOCKET, name, &v, &n));
    return v;
}

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
        pause_ms(30);
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
    serve("@forkyard-test-name", SOCK_STREAM);
    serve("@forkyard-test-name", SOCK_SEQPACKET);
    int s = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0)), t = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0));
    TEST_SUCC(bind_to(s, "@forkyard-test-name"));
    TEST_ERRNO(bind_to(t, "@forkyard-test-name"), EADDRINUSE);
    close(s);
    TEST_SUCC(bind_to(t, "@forkyard-test-name"));
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
    int l = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM, 0)), c[8], n = 0;
    TEST_SUCC(bind_to(l, "@forkyard-backlog"));
    TEST_SUCC(listen(l, 2));
    for (int i = 0; i < 8; i++) {
        c[i] = TEST_SUCC(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (connect_to(c[i], "@forkyard-backlog") == 0)
            n++;
        else
            TEST_EQ(errno, EAGAIN);
    }
    TEST_EQ(n, 3);
    TEST_EQ(events_of(l), POLLIN);
    TEST_SUCC(write(c[0], "early", 5));
    int s = TEST_SUCC(accept(l, NULL, NULL));
    TEST_RES(read(s, back, 100), _ret == 5);
    TEST_SUCC(connect_to(c[7], "@forkyard-backlog"));
    close(l);
    TEST_ERRNO(read(c[1], back, 1), ECONNRESET);
    TEST_SUCC(read(c[0], back, 0));
    TEST_ERRNO(connect_to(c[0], "@forkyard-backlog"), ECONNREFUSED);
}

/* -- what travels along ----------------------------------------------------- */

static int send_fds(int s, const int *fds, int count, const char *data, int n)
{
    char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
    struct iovec v = {(void *)data, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    return sendmsg(s, &m, 0);
}

static int recv_fds(int s, int *fds, int room, int *flags, int n)
{
    char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
    struct iovec v = {back, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    ssize_t r = TEST_SUCC(recvmsg(s, &m, *flags));
    *flags = m.msg_flags;
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_type == SCM_RIGHTS) {
            int k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds + count, CMSG_DATA(c), k * sizeof(int));
            count += k;
        }
    test_print("%ld bytes, %d descriptors, control %ld, flags %x\n", (long)r, count, (long)m.msg_controllen, *flags);
    return count;
}

FN_TEST(descriptors_travel)
{
    int s[2], p[2], got[16], flags;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(pipe(p));
    TEST_SUCC(write(s[0], "before", 6));
    TEST_RES(send_fds(s[0], p, 2, "with", 4), _ret == 4);
    TEST_SUCC(write(s[0], "after", 5));
    close(p[0]);
    flags = 0;
    TEST_EQ(recv_fds(s[1], got, 200, &flags, 100), 2);
    flags = MSG_CMSG_CLOEXEC;
    TEST_EQ(recv_fds(s[1], got + 2, 200, &flags, 100), 0);
    TEST_SUCC(write(p[1], "through", 7));
    TEST_RES(read(got[0], back, 100), _ret == 7);
    TEST_EQ(fcntl(got[0], F_GETFD), 0);
    close(p[1]);
    close(got[1]);
    TEST_RES(read(got[0], back, 100), _ret == 0);
    close(got[0]);
}

FN_TEST(descriptors_cut_short)
{
    int s[2], p[2], got[16], flags = 0;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    TEST_SUCC(pipe(p));
    int three[3] = {p[0], p[1], p[1]};
    TEST_SUCC(send_fds(s[0], three, 3, "x", 1));
    TEST_EQ(recv_fds(s[1], got, CMSG_LEN(sizeof(int)), &flags, 10), 1);
    close(got[0]);
    TEST_SUCC(send_fds(s[0], three, 3, "x", 1));
    close(p[1]);
    flags = 0;
    TEST_EQ(recv_fds(s[1], got, 0, &flags, 10), 0);
    TEST_RES(read(p[0], back, 1), _ret == 0); /* the unclaimed ones are closed */
    int bad = 999;
    TEST_ERRNO(send_fds(s[0], &bad, 1, "x", 1), EBADF);
    TEST_SUCC(send_fds(s[0], p, 1, "x", 1));
    TEST_RES(read(s[1], back, 10), _ret == 1);
    TEST_SUCC(send_fds(s[0], p, 1, "x", 1));
    flags = MSG_PEEK;
    TEST_EQ(recv_fds(s[1], got, 200, &flags, 10), 1);
    flags = MSG_CMSG_CLOEXEC;
    TEST_EQ(recv_fds(s[1], got, 200, &flags, 10), 1);
    TEST_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
}

FN_TEST(descriptor_in_flight_keeps_its_file)
{
    int s[2], p[2], got[16], flags = 0;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(pipe(p));
    TEST_SUCC(send_fds(s[0], p + 1, 1, "x", 1));
    close(p[1]);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    TEST_ERRNO(read(p[0], back, 1), EAGAIN);
    TEST_CHILD({
        TEST_EQ(recv_fds(s[1], got, 200, &flags, 10), 1);
        TEST_SUCC(write(got[0], "c", 1));
    });
    TEST_RES(read(p[0], back, 1), _ret == 1);
    TEST_RES(read(p[0], back, 1), _ret == 0);
    TEST_SUCC(pipe(p));
    TEST_SUCC(send_fds(s[0], p + 1, 1, "x", 1));
    close(p[1]);
    close(s[1]);
    TEST_RES(read(p[0], back, 1), _ret == 0);
}

static void show_creds(int s, const char *expect)
{
    char control[200];
    struct iovec v = {back, 100};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    TEST_SUCC(recvmsg(s, &m, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_CREDENTIALS) {
        test_print("%s: none, control %ld\n", expect, (long)m.msg_controllen);
        return;
    }
    struct ucred u;
    memcpy(&u, CMSG_DATA(c), sizeof u);
    test_print("%s: pid %s uid %s, length %ld\n", expect, u.pid == getpid() ? "mine" : u.pid ? "other" : "0",
               u.uid == getuid() ? "mine" : u.uid == 65534 ? "nobody" : "other", (long)c->cmsg_len);
}

FN_TEST(credentials)
{
    int s[2], one = 1;
    TEST_SUCC(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TEST_SUCC(write(s[0], "x", 1));
    show_creds(s[1], "not asked for");
    TEST_SUCC(write(s[0], "x", 1));
    TEST_SUCC(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    TEST_EQ(option(s[1], SO_PASSCRED), 1);
    show_creds(s[1], "asked for too late");
    TEST_SUCC(write(s[0], "x", 1));
    show_creds(s[1], "asked for");
    TEST_CHILD(TEST_SUCC(write(s[0], "x", 1)));
    show_creds(s[1], "from a child");
    struct {
        struct cmsghdr h;
        struct ucred u;
    } c = {{CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS}, {getpid(), getuid(), getgid()}};
    struct iovec v = {"y", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    TEST_SUCC(sendmsg(s[0], &m, 0));
    show_creds(s[1], "explicit");
    c.h.cmsg_type = 99;
    TEST_ERRNO(sendmsg(s[0], &m, 0), EINVAL);
    c.h.cmsg_len = 3;
    TEST_ERRNO(sendmsg(s[0], &m, 0), EINVAL);
}

/* -- the rest ----------------------------------------------------------------- */

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
    tv = (struct timeval){5, 0};
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    ualarm(30000, 0);
    TEST_ERRNO(read(s[0], back, 1), EINTR); /* a timeout is never restarted */
    tv = (struct timeval){0, 0};
    TEST_SUCC(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        pause_ms(100);
        TEST_SUCC(write(s[1], "x", 1));
        _exit(0);
    }
    ualarm(30000, 0);
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
