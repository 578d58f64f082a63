/* AF_UNIX sockets: descriptors and credentials that travel with messages. */
#include "socket.h"

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
    c.h.cmsg_type = 99; /* the system call itself: musl sends a copy */
    TEST_ERRNO(syscall(SYS_sendmsg, s[0], &m, 0), EINVAL);
    c.h.cmsg_len = 3;
    TEST_ERRNO(syscall(SYS_sendmsg, s[0], &m, 0), EINVAL);
}
