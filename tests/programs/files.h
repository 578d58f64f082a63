/* What every file system call returns, and with which error, in one directory made by the program itself: what the
 * programs files_open.c, files_names.c and files_attrs.c have in common.
 *
 * Prints one line a call: the expression, its result, the name of the error. The oracle is the host: the same binary
 * must print the same natively and under Forkyard. Inode numbers and times are printed as relations.
 *
 * A program ends with static void sections(void): its SECTIONs in order.
 */
#define TEST_NO_MAIN
#include "test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

static int shared; /* run with an argument: in a directory of the host, where devices and the mount differ */
static char big[PATH_MAX + 10], name255[256], name256[257], buf[8192];

#define P(e)                                                                        \
    do {                                                                            \
        errno = 0;                                                                  \
        long r_ = (long)(e);                                                        \
        int e_ = errno;                                                             \
        printf("%d: %s = %ld%s%s\n", __LINE__, #e, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(e_) : ""); \
    } while (0)
/* for calls whose result is a descriptor */
#define O(e)                                                                        \
    ({                                                                              \
        errno = 0;                                                                  \
        int r_ = (e), e_ = errno;                                                   \
        printf("%d: %s = %s\n", __LINE__, #e, r_ < 0 ? strerrorname_np(e_) : "fd"); \
        r_;                                                                         \
    })
#define X(e)                   \
    do {                       \
        int x_ = O(e);         \
        if (x_ >= 0)           \
            close(x_);         \
    } while (0)
#define SECTION(f) printf("== %s\n", #f), f()

static void show_as(const char *name, const char *path)
{
    struct stat s;
    if (lstat(path, &s) < 0) {
        printf("   %s: %s\n", name, strerrorname_np(errno));
        return;
    }
    printf("   %s: mode %o nlink %ld uid %d gid %d size %ld rdev %lx blksize %ld\n", name, s.st_mode, (long)s.st_nlink,
           s.st_uid, s.st_gid, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size, (long)s.st_rdev, (long)s.st_blksize);
}

__attribute__((unused)) static void show(const char *path) { show_as(path, path); }

__attribute__((unused)) static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("put %s: %s\n", path, strerrorname_np(errno));
    close(fd);
}

__attribute__((unused)) static void get(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("   %s: %s\n", path, strerrorname_np(errno));
        return;
    }
    ssize_t n = read(fd, buf, sizeof buf);
    printf("   %s: %zd bytes \"", path, n);
    for (ssize_t i = 0; i < n && i < 80; i++)
        printf(buf[i] >= ' ' && buf[i] < 127 ? "%c" : "\\%02x", (unsigned char)buf[i]);
    printf("\"\n");
    close(fd);
}

__attribute__((unused)) static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

__attribute__((unused)) static void list(const char *path)
{
    DIR *d = opendir(path);
    char *names[256];
    int n = 0;
    struct dirent *e;
    if (!d) {
        printf("   %s/: %s\n", path, strerrorname_np(errno));
        return;
    }
    while ((e = readdir(d)) && n < 256) {
        struct stat s;
        char line[300];
        int ok = fstatat(dirfd(d), e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0;
        snprintf(line, sizeof line, "%s type %d%s%s", e->d_name, e->d_type, ok && s.st_ino == e->d_ino ? "" : " INO",
                 ok && (s.st_mode >> 12) == e->d_type ? "" : " TYPE");
        names[n++] = strdup(line);
    }
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    printf("   %s/:", path);
    for (int i = 0; i < n; i++)
        printf(" [%s]", names[i]);
    printf("\n");
}

static void sections(void);

int main(int argc, char **argv)
{
    (void)argv;
    shared = argc > 1;
    memset(big, 'a', sizeof big - 1);
    for (int i = 100; i < (int)sizeof big - 1; i += 100)
        big[i] = '/';
    memset(name255, 'b', 255);
    memset(name256, 'c', 256);
    umask(022);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    mkdir("work", 0755);
    if (chdir("work"))
        return 1;
    sections();
    return 0;
}
