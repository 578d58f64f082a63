/* inotify: which events come, in which order, with which names. Prints them; the host is the oracle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int in;
static unsigned first_cookie;

static void show(const char *what)
{
    char buf[8192];
    int pending = 0;
    ioctl(in, FIONREAD, &pending);
    ssize_t n = read(in, buf, sizeof buf);
    printf("%s: %s\n", what, n < 0 ? strerrorname_np(errno) : n == pending ? "" : "FIONREAD differs");
    for (char *p = buf; n > 0 && p < buf + n;) {
        struct inotify_event *e = (void *)p;
        if (e->cookie && !first_cookie)
            first_cookie = e->cookie;
        printf("  wd %d mask %x cookie %d len %u name %s\n", e->wd, e->mask, e->cookie ? e->cookie - first_cookie + 1 : 0,
               e->len, e->len ? e->name : "");
        p += sizeof *e + e->len;
    }
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write(fd, text, strlen(text));
    close(fd);
}

#define P(e)                                                                                        \
    do {                                                                                            \
        errno = 0;                                                                                  \
        long r_ = (e);                                                                              \
        printf("%s = %ld %s\n", #e, r_, r_ < 0 ? strerrorname_np(errno) : "");                      \
    } while (0)

int main(void)
{
    char c;
    mkdir("w", 0755);
    mkdir("w/sub", 0755);
    put("w/old", "x");
    P(inotify_init1(0x1234));
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    P(inotify_add_watch(in, "w", IN_ALL_EVENTS));
    P(inotify_add_watch(in, "w/old", IN_ALL_EVENTS));
    P(inotify_add_watch(in, "none", IN_ALL_EVENTS));
    P(inotify_add_watch(in, "w/old", IN_ALL_EVENTS | IN_ONLYDIR));
    P(inotify_add_watch(in, "w", 0));
    P(inotify_add_watch(0, "w", IN_OPEN));
    P(inotify_add_watch(999, "w", IN_OPEN));
    P(inotify_add_watch(in, "w", IN_ALL_EVENTS | IN_MASK_CREATE));
    P(inotify_rm_watch(in, 77));
    P(read(in, &c, 1));
    put("w/new", "hello");
    show("create");
    put("w/old", "again");
    show("rewrite");
    int fd = open("w/old", O_RDONLY);
    read(fd, &c, 1);
    read(fd, &c, 1);
    close(fd);
    show("read");
    chmod("w/old", 0600);
    truncate("w/old", 1);
    utimensat(AT_FDCWD, "w/old", NULL, 0);
    show("attributes");
    link("w/old", "w/hard");
    show("link");
    rename("w/new", "w/renamed");
    show("rename");
    rename("w/renamed", "out");
    rename("out", "w/in");
    show("out and in");
    mkdir("w/dir", 0755);
    rmdir("w/dir");
    show("directory");
    symlink("x", "w/link");
    mkfifo("w/fifo", 0644);
    show("special");
    unlink("w/hard");
    show("unlink one of two");
    fd = open("w/old", O_RDWR);
    unlink("w/old");
    show("unlink");
    write(fd, "x", 1);
    close(fd);
    show("last close");
    P(inotify_add_watch(in, "w/sub", IN_DELETE_SELF | IN_MOVE_SELF));
    rename("w/sub", "w/sub2");
    rmdir("w/sub2");
    show("watched directory");
    P(inotify_add_watch(in, "w", IN_CREATE | IN_ONESHOT));
    put("w/one", "");
    put("w/two", "");
    show("one shot");
    int wd = inotify_add_watch(in, "w", IN_MODIFY | IN_OPEN);
    P(inotify_add_watch(in, "w", IN_CLOSE | IN_MASK_ADD) == wd);
    fd = open("w/one", O_WRONLY);
    for (int i = 0; i < 5; i++)
        write(fd, "x", 1);
    P(read(in, &c, 1));
    show("coalesced");
    close(fd);
    P(inotify_rm_watch(in, wd));
    show("removed");
    P(inotify_rm_watch(in, wd));
    /* a reader that waits */
    fcntl(in, F_SETFL, 0);
    inotify_add_watch(in, "w", IN_CREATE);
    fflush(stdout);
    if (fork() == 0) {
        usleep(50000);
        put("w/by-child", "");
        _exit(0);
    }
    struct pollfd p = {in, POLLIN, 0};
    P(poll(&p, 1, -1));
    show("woken");
    wait(NULL);
    close(in);
    put("w/after", "");
    return 0;
}
