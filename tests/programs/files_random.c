/* A long random sequence of file system calls in a small tree, from a seed: prints every result, error and listing.
 * `files_random SEED STEPS`. The host is the oracle.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;
static unsigned rnd(unsigned n)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(state >> 33) % n;
}

static const char *part[] = {"a", "b", "c", "sub", "sub", "dir", "dir", "..", ".", "x"};
static char top[4096];

static void path(char *out)
{
    unsigned depth = 1 + (rnd(3) == 0) + (rnd(6) == 0);
    out[0] = 0;
    if (rnd(12) == 0)
        sprintf(out, "%s/", top);
    for (unsigned i = 0; i < depth; i++) {
        strcat(out, part[rnd(sizeof part / sizeof *part)]);
        if (i + 1 < depth || rnd(10) == 0)
            strcat(out, "/");
    }
    /* never above the directory that was given */
    int level = 0;
    char copy[4096];
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd) || strncmp(cwd, top, strlen(top)))
        strcpy(cwd, top), chdir(top);
    for (char *p = cwd + strlen(top); *p; p++)
        level += *p == '/';
    const char *rest = out;
    if (out[0] == '/')
        level = 0, rest = out + strlen(top);
    strcpy(copy, rest);
    for (char *t = strtok(copy, "/"); t; t = strtok(NULL, "/")) {
        level += strcmp(t, "..") == 0 ? -1 : strcmp(t, ".") != 0;
        if (level < 0) {
            strcpy(out, "a");
            return;
        }
    }
}

static int fds[6] = {-1, -1, -1, -1, -1, -1};
static int *slot(void) { return &fds[rnd(6)]; }

static const int flag[] = {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_EXCL,
                           O_RDWR | O_APPEND, O_RDWR | O_TRUNC, O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW, O_PATH,
                           O_PATH | O_NOFOLLOW, O_RDONLY | O_CREAT, O_RDWR | O_CREAT | O_NOFOLLOW};

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *where, int depth)
{
    DIR *d = opendir(where);
    char *names[512];
    int n = 0;
    struct dirent *e;
    while (d && (e = readdir(d)) && n < 512)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            names[n++] = strdup(e->d_name);
    if (d)
        closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        char full[8192], target[300] = "";
        struct stat s;
        snprintf(full, sizeof full, "%s/%s", where, names[i]);
        free(names[i]);
        if (lstat(full, &s)) {
            printf("%s: %s\n", full, strerrorname_np(errno));
            continue;
        }
        unsigned sum = 0;
        if (S_ISREG(s.st_mode)) {
            int fd = open(full, O_RDONLY);
            unsigned char b[4096];
            ssize_t k;
            while ((k = read(fd, b, sizeof b)) > 0)
                for (ssize_t j = 0; j < k; j++)
                    sum = sum * 31 + b[j];
            close(fd);
        } else if (S_ISLNK(s.st_mode))
            readlink(full, target, sizeof target - 1);
        printf("%s %o %ld %ld %08x %s\n", full + strlen(top), s.st_mode, (long)s.st_nlink,
               S_ISDIR(s.st_mode) ? 0L : (long)s.st_size, sum, target);
        if (S_ISDIR(s.st_mode) && depth < 12)
            list(full, depth + 1);
    }
}

int main(int argc, char **argv)
{
    char p[4096], q[4096], buf[20000];
    state = argc > 1 ? strtoull(argv[1], 0, 10) : 1;
    int steps = argc > 2 ? atoi(argv[2]) : 1000;
    mkdir("t", 0755), chdir("t");
    getcwd(top, sizeof top);
    umask(022);
    memset(buf, 'q', sizeof buf);
    for (int i = 0; i < steps; i++) {
        long r = 0;
        int *fd = slot();
        struct stat s;
        unsigned op = rnd(34), off = rnd(3) ? rnd(9000) : rnd(100000);
        errno = 0;
        path(p), path(q);
        switch (op) {
        case 0: case 1: case 2: case 3: case 4:
            close(*fd);
            errno = 0;
            *fd = open(p, flag[rnd(sizeof flag / sizeof *flag)], 0644);
            r = *fd < 0 ? -1 : 0;
            break;
        case 5: r = read(*fd, buf, rnd(9000)); break;
        case 6: case 7: memset(buf, 'a' + rnd(26), 9000); r = write(*fd, buf, rnd(9000)); break;
        case 8: r = pread(*fd, buf, rnd(9000), off); break;
        case 9: r = pwrite(*fd, "positional", rnd(11), off); break;
        case 10: r = lseek(*fd, (long)rnd(20000) - 5000, rnd(3)); break;
        case 11: r = ftruncate(*fd, off); break;
        case 12: r = truncate(p, off); break;
        case 13: case 14: case 15: r = mkdir(p, 0755); break;
        case 16: r = rmdir(p); break;
        case 17: case 18: r = unlink(p); break;
        case 19: case 20: r = rename(p, q); break;
        case 21: r = renameat2(AT_FDCWD, p, AT_FDCWD, q, 1 + rnd(2)); break;
        case 22: case 23: r = link(p, q); break;
        case 24: r = symlink(rnd(2) ? part[rnd(7)] : "../a", q); break;
        case 25: r = readlink(p, buf, 100); break;
        case 26: case 27:
            r = rnd(2) ? stat(p, &s) : lstat(p, &s);
            if (!r)
                printf("   %o %ld %ld\n", s.st_mode, (long)s.st_nlink, S_ISDIR(s.st_mode) ? 0L : (long)s.st_size);
            break;
        case 28:
            r = fstat(*fd, &s);
            if (!r)
                printf("   %o %ld %ld\n", s.st_mode, (long)s.st_nlink, S_ISDIR(s.st_mode) ? 0L : (long)s.st_size);
            break;
        case 29: r = chmod(p, 0600 + rnd(0200)); break;
        case 30: r = rnd(3) ? chdir(p) : chdir(top); break;
        case 31: {
            static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE};
            unsigned m = rnd(6);
            r = fallocate(*fd, modes[m], m > 3 ? off & ~4095u : off, m > 3 ? 4096 : 1 + rnd(20000));
            break;
        }
        case 32: r = rnd(2) ? setxattr(p, "user.k", "value", rnd(6), rnd(3)) : getxattr(p, "user.k", buf, 100); break;
        case 33: {
            int other = openat(*fd, part[rnd(8)], O_RDONLY);
            r = other < 0 ? -1 : 0;
            int e = errno;
            if (other >= 0)
                close(other);
            errno = e;
            break;
        }
        }
        int e = errno;
        printf("%d: %u %s %s = %ld %s\n", i, op, p[0] == '/' ? p + strlen(top) : p, q[0] == '/' ? q + strlen(top) : q, r,
               r < 0 ? strerrorname_np(e) : "");
    }
    list(top, 0);
    return 0;
}
