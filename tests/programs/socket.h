/* What the programs that test AF_UNIX sockets have in common. */
#include "test.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

TEST_UNUSED static char big[1 << 20], back[1 << 20];

TEST_UNUSED static int events_of(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};
    poll(&p, 1, 0);
    return p.revents;
}

TEST_UNUSED static socklen_t name_of(struct sockaddr_un *a, const char *path)
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

TEST_UNUSED static int bind_to(int s, const char *path)
{
    struct sockaddr_un a;
    socklen_t n = name_of(&a, path);
    return bind(s, (void *)&a, n);
}

TEST_UNUSED static int connect_to(int s, const char *path)
{
    struct sockaddr_un a;
    socklen_t n = name_of(&a, path);
    return connect(s, (void *)&a, n);
}

TEST_UNUSED static void show_name(const char *what, int s, int (*get)(int, struct sockaddr *, socklen_t *))
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

TEST_UNUSED static int option(int s, int name)
{
    int v = -99;
    socklen_t n = sizeof v;
    TEST_SUCC(getsockopt(s, SOL_SOCKET, name, &v, &n));
    return v;
}
