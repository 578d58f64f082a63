/* What every file system call returns, and with which error, in one directory made by the program itself.
 *
 * Prints one line a call: the expression, its result, the name of the error. The oracle is the host: the same binary
 * must print the same natively and under Forkyard. Inode numbers and times are printed as relations.
 */
#define _GNU_SOURCE
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

static void show(const char *path)
{
    struct stat s;
    if (lstat(path, &s) < 0) {
        printf("   %s: %s\n", path, strerrorname_np(errno));
        return;
    }
    printf("   %s: mode %o nlink %ld uid %d gid %d size %ld rdev %lx blksize %ld\n", path, s.st_mode, (long)s.st_nlink,
           s.st_uid, s.st_gid, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size, (long)s.st_rdev, (long)s.st_blksize);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        printf("put %s: %s\n", path, strerrorname_np(errno));
    close(fd);
}

static void get(const char *path)
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

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path)
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

static void opening(void)
{
    put("file", "0123456789");
    mkdir("dir", 0755);
    symlink("file", "tofile");
    symlink("dir", "todir");
    symlink("nowhere", "dangling");
    symlink("loop", "loop");
    symlink("dir/../made", "tomake");
    X(open("file", O_RDONLY));
    X(open("nofile", O_RDONLY));
    X(open("", O_RDONLY));
    X(open((char *)8, O_RDONLY));
    X(open("file/", O_RDONLY));
    X(open("file/x", O_RDONLY));
    X(open("tofile/", O_RDONLY));
    X(open("todir/", O_RDONLY));
    X(open("dir", O_RDONLY));
    X(open("dir", O_WRONLY));
    X(open("dir", O_RDWR));
    X(open("dir", O_RDONLY | O_TRUNC));
    X(open("dir", O_RDONLY | O_CREAT, 0644));
    X(open("dir/", O_RDONLY | O_CREAT, 0644));
    X(open("new/", O_RDWR | O_CREAT, 0644));
    X(open("new", O_RDWR | O_CREAT | O_DIRECTORY, 0644));
    X(open(".", O_RDWR | O_CREAT, 0644));
    X(open("..", O_RDWR | O_CREAT | O_EXCL, 0644));
    X(open("/", O_RDWR | O_CREAT, 0644));
    X(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));
    X(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0644));
    X(open("dangling", O_RDWR));
    X(open("tomake", O_RDWR | O_CREAT, 0600));
    show("made");
    X(open("loop", O_RDONLY));
    X(open("loop", O_RDONLY | O_CREAT, 0644));
    X(open("tofile", O_RDONLY | O_NOFOLLOW));
    X(open("tofile", O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
    X(open("todir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
    X(open("todir/", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
    X(open("file", O_RDONLY | O_DIRECTORY));
    X(open(name255, O_RDWR | O_CREAT, 0644));
    X(open(name256, O_RDWR | O_CREAT, 0644));
    X(open(name256, O_RDONLY));
    X(open(big, O_RDONLY));
    X(openat(12345, "file", O_RDONLY));
    X(openat(12345, "/", O_RDONLY));
    X(openat(0, "x", O_RDONLY));
    int file = O(open("file", O_RDONLY));
    X(openat(file, "x", O_RDONLY));
    close(file);
    X(open("file", O_WRONLY | O_RDWR));
    int fd = O(open("file", O_WRONLY | O_RDWR));
    P(read(fd, buf, 1));
    P(write(fd, "x", 1));
    close(fd);
    X(open("dir", O_TMPFILE | O_RDONLY, 0600));
    X(open("file", O_TMPFILE | O_RDWR, 0600));
    fd = O(open("dir", O_TMPFILE | O_RDWR, 0640));
    struct stat s;
    P(fstat(fd, &s));
    printf("   nlink %ld mode %o\n", (long)s.st_nlink, s.st_mode);
    P(write(fd, "temporary", 9));
    sprintf(buf, "/proc/self/fd/%d", fd);
    P(linkat(AT_FDCWD, buf, AT_FDCWD, "dir/named", AT_SYMLINK_FOLLOW));
    close(fd);
    get("dir/named");
    fd = O(open("dir", O_TMPFILE | O_RDWR | O_EXCL, 0640));
    sprintf(buf, "/proc/self/fd/%d", fd);
    P(linkat(AT_FDCWD, buf, AT_FDCWD, "dir/named2", AT_SYMLINK_FOLLOW));
    close(fd);
    fd = O(open("tofile", O_PATH | O_NOFOLLOW));
    P(read(fd, buf, 1));
    P(fchmod(fd, 0600));
    P(fstat(fd, &s));
    printf("   mode %o\n", s.st_mode);
    P(readlinkat(fd, "", buf, 100));
    P(fcntl(fd, F_GETFL));
    P(lseek(fd, 0, SEEK_SET));
    P(ftruncate(fd, 0));
    P(fsync(fd));
    P(close(fd));
    P(close(fd));
    P(close(-1));
    fd = O(open("file", O_PATH));
    P(fchdir(fd));
    P(fcntl(fd, F_GETFL));
    P(faccessat(fd, "", R_OK, AT_EMPTY_PATH));
    close(fd);
    fd = O(open("dir", O_PATH));
    P(fchdir(fd));
    P(chdir(".."));
    X(openat(fd, "named", O_RDONLY));
    P(syscall(SYS_getdents64, fd, buf, sizeof buf));
    close(fd);
    fd = O(open("file", O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC));
    P(fcntl(fd, F_GETFL));
    P(fcntl(fd, F_GETFD));
    close(fd);
    X(creat("created", 0666));
    show("created");
    umask(027);
    X(open("masked", O_CREAT | O_RDWR, 07777));
    show("masked");
    P(mkdir("maskeddir", 07777));
    show("maskeddir");
    P(umask(022));
}

static int how(const char *path, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size)
{
    struct open_how h = {flags, mode, resolve};
    char padded[64] = {0};
    memcpy(padded, &h, sizeof h);
    return syscall(SYS_openat2, AT_FDCWD, path, padded, size);
}

static void opening2(void)
{
    symlink("/etc/passwd", "absolute");
    symlink("../file", "dir/back");
    X(how("file", O_RDONLY, 0, 0, 24));
    X(how("file", O_RDONLY, 0, 0, 23));
    X(how("file", O_RDONLY, 0, 0, 32));
    X(how("file", O_RDONLY, 0600, 0, 24));
    X(how("file", 1ULL << 40, 0, 0, 24));
    X(how("file", O_RDONLY, 0, 1 << 20, 24));
    X(how("file", O_PATH | O_RDWR, 0, 0, 24));
    X(how("tofile", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, 24));
    X(how("todir/named", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, 24));
    X(how("../x", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    X(how("dir/../file", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    X(how("dir/back", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    X(how("/etc/passwd", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    X(how("absolute", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    X(how("absolute", O_RDONLY, 0, RESOLVE_IN_ROOT, 24));
    X(how("/file", O_RDONLY, 0, RESOLVE_IN_ROOT, 24));
    X(how("../../file", O_RDONLY, 0, RESOLVE_IN_ROOT, 24));
    X(how("/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS, 24));
    X(how("/dev/null", O_RDONLY, 0, RESOLVE_NO_XDEV, 24));
    X(how("file", O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH, 24));
}

static void reading(void)
{
    struct iovec v[3] = {{buf, 3}, {buf + 100, 0}, {buf + 200, 100}};
    put("file", "0123456789");
    int fd = O(open("file", O_RDWR));
    P(read(fd, buf, 4));
    P(lseek(fd, 0, SEEK_CUR));
    P(read(fd, (void *)8, 4));
    P(lseek(fd, 0, SEEK_CUR));
    P(read(fd, buf, 100));
    P(read(fd, buf, 100));
    P(read(fd, (void *)8, 100));
    P(read(fd, (void *)-1L, 1));
    P(syscall(SYS_read, fd, buf, -1L));
    P(read(fd, buf, 0));
    P(pread(fd, buf, 3, 8));
    P(pread(fd, buf, 3, 10));
    P(pread(fd, buf, 3, -1));
    P(pwrite(fd, "AB", 2, 20));
    P(lseek(fd, 0, SEEK_END));
    get("file");
    P(lseek(fd, -1, SEEK_SET));
    P(lseek(fd, -5, SEEK_END));
    P(lseek(fd, -100, SEEK_CUR));
    P(lseek(fd, 0, 77));
    P(lseek(fd, 1L << 62, SEEK_SET));
    P(lseek(fd, LONG_MAX, SEEK_SET));
    P(lseek(fd, 100, SEEK_DATA));
    P(lseek(fd, 0, SEEK_DATA));
    P(lseek(fd, 0, SEEK_HOLE));
    P(lseek(fd, 0, SEEK_SET));
    P(readv(fd, v, 3));
    P(readv(fd, v, 0));
    P(readv(fd, v, -1));
    P(readv(fd, v, 2000));
    P(readv(fd, (void *)8, 1));
    v[2].iov_base = (void *)8;
    P(lseek(fd, 0, SEEK_SET));
    P(readv(fd, v, 3));
    v[2].iov_len = -1;
    P(readv(fd, v, 3));
    v[2] = (struct iovec){buf + 200, 5};
    P(preadv(fd, v, 3, 2));
    P(pwritev(fd, v, 3, 30));
    P(preadv2(fd, v, 3, -1, 0));
    P(preadv2(fd, v, 3, -2, 0));
    P(preadv2(fd, v, 3, 0, 0x1000));
    P(pwritev2(fd, v, 1, 0, RWF_APPEND));
    P(lseek(fd, 0, SEEK_END));
    P(write(fd, (void *)8, 1));
    P(write(fd, "x", 0));
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    P(lseek(fd, 0, SEEK_SET));
    P(write(fd, page + 4090, 20));
    P(lseek(fd, 0, SEEK_CUR));
    P(ftruncate(fd, 30));
    P(pread(fd, page + 4090, 20, 0));
    close(fd);
    fd = O(open("file", O_WRONLY | O_APPEND));
    P(read(fd, buf, 1));
    P(pwrite(fd, "zz", 2, 0));
    P(lseek(fd, 0, SEEK_CUR));
    P(write(fd, "yy", 2));
    P(lseek(fd, 0, SEEK_CUR));
    close(fd);
    get("file");
    fd = O(open("file", O_RDONLY));
    P(write(fd, "x", 1));
    P(write(fd, (void *)8, 1));
    P(pwrite(fd, "x", 1, 0));
    close(fd);
    P(read(999, buf, 1));
    P(write(999, buf, 1));
    fd = O(open("dir", O_RDONLY));
    P(read(fd, buf, 1));
    P(pread(fd, buf, 1, 0));
    P(write(fd, buf, 1));
    close(fd);
    int p[2];
    P(pipe(p));
    P(pread(p[0], buf, 1, 0));
    P(pwrite(p[1], buf, 1, 0));
    P(lseek(p[0], 0, SEEK_SET));
    P(ftruncate(p[1], 0));
    P(fallocate(p[1], 0, 0, 1));
    P(fsync(p[1]));
    close(p[0]), close(p[1]);
}

static void sizes(void)
{
    struct stat s;
    put("file", "0123456789");
    P(truncate("file", 5));
    get("file");
    P(truncate("file", 8));
    get("file");
    P(truncate("file", -1));
    P(truncate("dir", 0));
    P(truncate("nofile", 0));
    P(truncate("/dev/null", 0));
    P(truncate("file", 1L << 62));
    P(truncate("file", 0xffffffff001L));
    P(truncate("file", 3));
    int fd = O(open("file", O_RDWR));
    P(ftruncate(fd, -1));
    P(ftruncate(fd, 1 << 20));
    P(fstat(fd, &s));
    printf("   size %ld blocks %ld\n", (long)s.st_size, (long)s.st_blocks);
    P(fallocate(fd, 0, -1, 10));
    P(fallocate(fd, 0, 0, 0));
    P(fallocate(fd, 0, LONG_MAX, 10));
    P(fallocate(fd, 0x100, 0, 10));
    P(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
    P(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE, 0, 4096));
    P(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20));
    P(lseek(fd, 0, SEEK_END));
    P(fallocate(fd, 0, 0, 2 << 20));
    P(lseek(fd, 0, SEEK_END));
    P(pwrite(fd, "abcdef", 6, 8190));
    P(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096));
    P(pread(fd, buf, 10, 8188));
    printf("   %02x %02x %02x %02x %02x\n", buf[1], buf[2], buf[3], buf[4], buf[5]);
    P(fallocate(fd, FALLOC_FL_ZERO_RANGE, 8190, 1));
    P(pread(fd, buf, 10, 8188));
    printf("   %02x %02x %02x %02x %02x\n", buf[1], buf[2], buf[3], buf[4], buf[5]);
    P(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    P(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 1, 4096));
    P(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4 << 20));
    P(pread(fd, buf, 10, 4092));
    printf("   %02x %02x %02x %02x %02x\n", buf[1], buf[2], buf[3], buf[4], buf[5]);
    P(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 8192));
    P(lseek(fd, 0, SEEK_END));
    P(pread(fd, buf, 10, 4092));
    printf("   %02x %02x %02x %02x %02x\n", buf[1], buf[2], buf[3], buf[4], buf[5]);
    close(fd);
    fd = O(open("file", O_RDONLY));
    P(ftruncate(fd, 0));
    P(fallocate(fd, 0, 0, 1));
    P(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    P(posix_fadvise(fd, 0, 0, 99));
    P(readahead(fd, 0, 10));
    P(fsync(fd));
    P(fdatasync(fd));
    P(syncfs(fd));
    P(sync_file_range(fd, 0, 0, 7));
    P(sync_file_range(fd, 0, 0, 8));
    P(sync_file_range(fd, -1, 0, 0));
    close(fd);
    struct rlimit limit = {4096, RLIM_INFINITY}, old;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    fd = O(open("limited", O_RDWR | O_CREAT | O_TRUNC, 0644));
    P(setrlimit(RLIMIT_FSIZE, &limit));
    P(pwrite(fd, buf, 100, 4090));
    P(pwrite(fd, buf, 100, 4096));
    P(ftruncate(fd, 4097));
    P(ftruncate(fd, 4096));
    limit.rlim_cur = RLIM_INFINITY;
    P(setrlimit(RLIMIT_FSIZE, &limit));
    close(fd);
}

static void names(void)
{
    put("a", "aaa");
    P(link("a", "b"));
    show("a");
    P(link("a", "b"));
    P(link("nofile", "c"));
    P(link("dir", "c"));
    P(link("a", "c/"));
    P(link("a", "nodir/c"));
    P(link("tofile", "linktolink"));
    show("linktolink");
    P(linkat(AT_FDCWD, "tofile", AT_FDCWD, "linktofile", AT_SYMLINK_FOLLOW));
    show("linktofile");
    P(linkat(AT_FDCWD, "a", AT_FDCWD, "c", 0x800));
    P(link("a", "/dev/shm/c"));
    P(symlink("", "s"));
    P(symlink("x", ""));
    P(symlink("x", "a"));
    P(symlink("x", "s/"));
    P(symlink("target", "s"));
    show("s");
    P(readlink("s", buf, 3));
    P(readlink("s", buf, 0));
    P(readlink("s", buf, -1));
    P(readlink("a", buf, 10));
    P(readlink("s", (void *)8, 10));
    P(readlink("", buf, 10));
    P(readlink("s/", buf, 10));
    P(unlink("s"));
    P(unlink("s"));
    P(unlink("dir"));
    P(unlink("dir/"));
    P(unlink("a/"));
    P(unlink("."));
    P(unlink("a/x"));
    P(unlink(""));
    P(rmdir("dir"));
    P(rmdir("a"));
    P(rmdir("."));
    P(rmdir("dir/.."));
    P(rmdir("dir/."));
    P(rmdir("/"));
    P(rmdir("/dev"));
    P(rmdir("nodir"));
    P(rmdir("todir"));
    P(rmdir("todir/"));
    P(unlinkat(AT_FDCWD, "a", 1));
    P(unlinkat(AT_FDCWD, "a", AT_REMOVEDIR));
    P(mkdir("dir", 0755));
    P(mkdir("a", 0755));
    P(mkdir("dangling", 0755));
    P(mkdir("x/y", 0755));
    P(mkdir("", 0755));
    P(mkdir("/", 0755));
    P(mkdir(".", 0755));
    P(mkdir("sub/", 0755));
    P(mkdir("sub/one", 0755));
    P(mkdir("sub/two", 0755));
    show("sub");
    P(mkdir(name256, 0755));
    P(mkdir(big, 0755));
    P(mknod("fifo", S_IFIFO | 0644, 0));
    show("fifo");
    P(mknod("fifo", S_IFIFO | 0644, 0));
    P(mknod("plain", 0644, 0));
    show("plain");
    P(mknod("sock", S_IFSOCK | 0644, 0));
    show("sock");
    X(open("sock", O_RDONLY));
    P(mknod("d", S_IFDIR | 0755, 0));
    P(mknod("l", S_IFLNK | 0755, 0));
    P(mknod("q", 0150000, 0));
    if (shared)
        return;
    P(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    show("null");
    X(open("null", O_RDWR));
    P(mknod("nodev", S_IFCHR | 0666, makedev(200, 200)));
    X(open("nodev", O_RDWR));
    list(".");
}

static void renames(void)
{
    put("r1", "one");
    put("r2", "two");
    link("r1", "r1link");
    mkdir("d1", 0755);
    mkdir("d1/in", 0755);
    mkdir("d2", 0755);
    P(rename("r1", "r1link"));
    show("r1");
    P(rename("r1", "r2"));
    get("r2");
    show("r1");
    P(rename("nofile", "x"));
    P(rename("r2", "d1"));
    P(rename("d1", "r2"));
    P(rename("d1", "d1/in/x"));
    P(rename("d1/in", "d1"));
    P(rename("d2", "d1"));
    P(rename("r2", "r3/"));
    P(rename("r2/", "r3"));
    P(rename("d2/", "d3/"));
    P(rename("d3", "d2"));
    P(rename("d1/.", "x"));
    P(rename("d1", "."));
    P(rename("d1", "d2/.."));
    if (!shared) {
        P(rename("d1", "/"));
        P(rename("/dev", "x"));
    }
    P(rename("r2", "/dev/shm/x"));
    P(rename("d1/in", "d2"));
    show("d1");
    show("d2");
    P(mkdir("d2/k", 0755));
    P(rename("d2", "d1/moved"));
    show("d1");
    show("d1/moved");
    list("d1/moved");
    P(rename("d1/moved", "d2"));
    show("d1");
    P(renameat2(AT_FDCWD, "r2", AT_FDCWD, "r1link", RENAME_NOREPLACE));
    P(renameat2(AT_FDCWD, "r2", AT_FDCWD, "r4", RENAME_NOREPLACE));
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "d2", RENAME_EXCHANGE));
    show("r4");
    show("d2");
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "nofile", RENAME_EXCHANGE));
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "r4/k", RENAME_EXCHANGE));
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "d2", RENAME_EXCHANGE));
    P(renameat2(AT_FDCWD, "d2/k", AT_FDCWD, "r4", RENAME_EXCHANGE));
    show("d2");
    P(renameat2(AT_FDCWD, "d2/k", AT_FDCWD, "r4", RENAME_EXCHANGE));
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "x", RENAME_EXCHANGE | RENAME_NOREPLACE));
    P(renameat2(AT_FDCWD, "r4", AT_FDCWD, "x", 16));
    P(rename("tofile", "movedlink"));
    show("movedlink");
    int fd = open("r4", O_RDONLY);
    char link[64];
    sprintf(link, "/proc/self/fd/%d", fd);
    rename("r4", "r5");
    ssize_t n = readlink(link, buf, sizeof buf);
    printf("   %.*s\n", 3, buf + n - 3);
    unlink("r5");
    n = readlink(link, buf, sizeof buf);
    printf("   %.*s\n", 13, buf + n - 13);
    struct stat s;
    fstat(fd, &s);
    printf("   nlink %ld\n", (long)s.st_nlink);
    P(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH));
    P(linkat(AT_FDCWD, link, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
    close(fd);
    list("d1");
}

static void directories(void)
{
    char start[PATH_MAX];
    getcwd(start, sizeof start);
    mkdir("walk", 0755);
    for (int i = 0; i < 10; i++) {
        sprintf(buf, "walk/f%d", i);
        put(buf, "");
    }
    int fd = O(open("walk", O_RDONLY | O_DIRECTORY));
    P(syscall(SYS_getdents64, fd, buf, 10));
    P(syscall(SYS_getdents64, fd, (void *)8, 1000));
    P(syscall(SYS_getdents64, 0x7fff, buf, 1000));
    P(syscall(SYS_getdents64, fd, buf, 8000));
    P(syscall(SYS_getdents64, fd, buf, 8000));
    P(lseek(fd, 0, SEEK_SET));
    P(syscall(SYS_getdents, fd, buf, 8000));
    P(lseek(fd, -1, SEEK_SET));
    P(lseek(fd, 0, 9));
    P(ftruncate(fd, 0));
    P(fallocate(fd, 0, 0, 1));
    P(fsync(fd));
    P(mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
    close(fd);
    fd = O(open("file", O_RDONLY));
    P(syscall(SYS_getdents64, fd, buf, 8000));
    P(fchdir(fd));
    close(fd);
    P(chdir("walk"));
    P(getcwd(buf, 3) == NULL ? -1 : 0);
    P(syscall(SYS_getcwd, buf, 0));
    P(syscall(SYS_getcwd, buf, sizeof buf) == (long)strlen(start) + 6);
    P(syscall(SYS_getcwd, 8, 1000));
    P(chdir("f1"));
    P(chdir("none"));
    P(chdir(""));
    P(chdir((char *)8));
    P(chdir(".."));
    mkdir("gone", 0755);
    P(chdir("gone"));
    P(rmdir("../gone"));
    P(syscall(SYS_getcwd, buf, sizeof buf));
    X(open("x", O_CREAT | O_RDWR, 0644));
    P(mkdir("x", 0755));
    X(open(".", O_RDONLY));
    P(symlink("a", "b"));
    fd = O(open(".", O_RDONLY));
    P(syscall(SYS_getdents64, fd, buf, 8000));
    close(fd);
    show(".");
    show("..");
    P(chdir(start));
    list("walk");
    list(".");
    /* removing while reading finds everything */
    DIR *d = opendir("walk");
    struct dirent *e;
    int removed = 0;
    while ((e = readdir(d)))
        if (e->d_name[0] == 'f' && unlinkat(dirfd(d), e->d_name, 0) == 0)
            removed++;
    printf("   removed %d\n", removed);
    rewinddir(d);
    put("walk/late", "");
    rewinddir(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            printf("   found %s\n", e->d_name);
    closedir(d);
}

static void attributes(void)
{
    struct stat s, t;
    struct timespec ts[2] = {{1000, 5}, {2000, 999999999}};
    struct timeval tv[2] = {{3000, 7}, {4000, 8}};
    put("file", "x");
    P(chmod("file", 0640));
    show("file");
    P(chmod("file", 0107777));
    show("file");
    P(chown("file", 1000, 1001));
    show("file");
    P(chmod("file", 06644));
    P(chown("file", -1, 5));
    show("file");
    P(chmod("file", 06755));
    int fd = O(open("file", O_RDWR));
    P(write(fd, "y", 1));
    show("file");
    P(fchown(fd, 0, -1));
    show("file");
    P(fchmod(fd, 0600));
    P(lchown("movedlink", 7, 8));
    show("movedlink");
    P(fchmodat(AT_FDCWD, "movedlink", 0600, AT_SYMLINK_NOFOLLOW));
    P(fchownat(fd, "", 3, 4, AT_EMPTY_PATH));
    P(fchownat(fd, "", 3, 4, 0));
    P(fchownat(fd, "", 3, 4, 0x8000));
    show("file");
    P(chown("nofile", 0, 0));
    P(chmod("file/x", 0));
    P(fchmod(999, 0));
    P(mkdir("setgid", 0755));
    P(chown("setgid", 0, 77));
    P(chmod("setgid", 02755));
    put("setgid/f", "");
    mkdir("setgid/d", 0755);
    show("setgid/f");
    show("setgid/d");
    P(utimensat(AT_FDCWD, "file", ts, 0));
    P(stat("file", &s));
    printf("   %ld.%09ld %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    ts[0].tv_nsec = UTIME_OMIT, ts[1] = (struct timespec){-5, 1};
    P(futimens(fd, ts));
    P(stat("file", &s));
    printf("   %ld.%09ld %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    ts[1].tv_nsec = 1000000000;
    P(futimens(fd, ts));
    ts[1].tv_nsec = UTIME_OMIT;
    P(utimensat(AT_FDCWD, "nofile", ts, 0));
    ts[1].tv_nsec = UTIME_NOW;
    P(utimensat(AT_FDCWD, "nofile", ts, 0));
    P(utimensat(AT_FDCWD, "file", ts, 0x8000));
    P(syscall(SYS_utimensat, AT_FDCWD, NULL, ts, 0));
    P(utimensat(AT_FDCWD, "file", NULL, 0));
    P(utimes("file", tv));
    P(stat("file", &s));
    printf("   %ld.%09ld %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    tv[0].tv_usec = 1000000;
    P(syscall(SYS_utimes, "file", tv));
    P(syscall(SYS_futimesat, AT_FDCWD, "file", NULL));
    struct utimbuf ut = {5, 6};
    P(syscall(SYS_utime, "file", &ut));
    P(stat("file", &s));
    printf("   %ld %ld\n", s.st_atim.tv_sec, s.st_mtim.tv_sec);
    ts[0] = (struct timespec){1L << 40, 0}, ts[1] = (struct timespec){-(1L << 40), 0};
    P(utimensat(AT_FDCWD, "file", ts, 0));
    P(stat("file", &s));
    printf("   %ld %ld\n", s.st_atim.tv_sec, s.st_mtim.tv_sec);
    /* who changes which time */
    P(utimes("file", NULL));
    stat("file", &s);
    usleep(20000);
    P(pread(fd, buf, 1, 0));
    stat("file", &t);
    printf("   read: atime %d mtime %d ctime %d\n", t.st_atim.tv_nsec != s.st_atim.tv_nsec,
           t.st_mtim.tv_nsec != s.st_mtim.tv_nsec, t.st_ctim.tv_nsec != s.st_ctim.tv_nsec);
    s = t;
    usleep(20000);
    P(pwrite(fd, "z", 1, 0));
    stat("file", &t);
    printf("   write: atime %d mtime %d ctime %d\n", t.st_atim.tv_nsec != s.st_atim.tv_nsec,
           t.st_mtim.tv_nsec != s.st_mtim.tv_nsec, t.st_ctim.tv_nsec != s.st_ctim.tv_nsec);
    s = t;
    usleep(20000);
    P(chmod("file", 0644));
    stat("file", &t);
    printf("   chmod: atime %d mtime %d ctime %d\n", t.st_atim.tv_nsec != s.st_atim.tv_nsec,
           t.st_mtim.tv_nsec != s.st_mtim.tv_nsec, t.st_ctim.tv_nsec != s.st_ctim.tv_nsec);
    stat(".", &s);
    usleep(20000);
    put("newfile", "");
    stat(".", &t);
    printf("   create: mtime %d ctime %d\n", t.st_mtim.tv_nsec != s.st_mtim.tv_nsec,
           t.st_ctim.tv_nsec != s.st_ctim.tv_nsec);
    P(fstat(fd, (void *)8));
    P(stat("file", (void *)8));
    P(lstat("file/", &s));
    P(fstatat(fd, "", &s, AT_EMPTY_PATH));
    P(fstatat(fd, "", &s, 0));
    P(fstatat(AT_FDCWD, "file", &s, 1));
    P(fstatat(AT_FDCWD, "", &s, AT_EMPTY_PATH));
    close(fd);
    struct statx x;
    P(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &x));
    printf("   mode %o size %llu mask %x\n", x.stx_mode, (unsigned long long)x.stx_size, x.stx_mask & 0x7ff);
    P(statx(AT_FDCWD, "file", 0x6000, STATX_BASIC_STATS, &x));
    P(statx(AT_FDCWD, "file", 0, 0x80000000, &x));
    P(access("file", F_OK));
    P(access("file", R_OK | W_OK));
    P(access("file", X_OK));
    P(access("file", 8));
    P(access("nofile", F_OK));
    P(access("dir", X_OK));
    P(faccessat(AT_FDCWD, "dangling", F_OK, 0));
    P(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    P(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, 0x8000));
}

static void extended(void)
{
    put("xf", "x");
    symlink("xf", "xlink");
    P(setxattr("xf", "user.a", "one", 3, 0));
    P(setxattr("xf", "user.a", "two", 3, XATTR_CREATE));
    P(setxattr("xf", "user.b", "two", 3, XATTR_REPLACE));
    P(setxattr("xf", "user.b", "", 0, 0));
    P(setxattr("xf", "user.a", "two", 3, 8));
    P(getxattr("xf", "user.a", buf, 100));
    P(getxattr("xf", "user.a", buf, 0));
    P(getxattr("xf", "user.a", buf, 2));
    P(getxattr("xlink", "user.a", buf, 100));
    P(lgetxattr("xlink", "user.a", buf, 100));
    P(lsetxattr("xlink", "user.a", buf, 3, 0));
    P(getxattr("xf", "user.c", buf, 100));
    P(getxattr("xf", "user.", buf, 100));
    P(getxattr("xf", "", buf, 100));
    P(getxattr("xf", "nothing", buf, 100));
    P(getxattr("xf", "system.posix_acl_access", buf, 100));
    P(getxattr("xf", name256, buf, 100));
    P(listxattr("xf", buf, 100));
    P(listxattr("xf", buf, 0));
    P(listxattr("xf", buf, 3));
    P(setxattr("xf", "user.big", big, 70000, 0));
    P(removexattr("xf", "user.a"));
    P(removexattr("xf", "user.a"));
    P(listxattr("xf", buf, 100));
    P(setxattr("nofile", "user.a", "x", 1, 0));
    P(setxattr("dir", "user.a", "x", 1, 0));
    P(getxattr("dir", "user.a", buf, 1));
    P(fgetxattr(999, "user.a", buf, 1));
    P(setxattr("/dev/null", "user.a", "x", 1, 0));
}

static void memfds(void)
{
    struct stat s;
    int fd = O(memfd_create("name", MFD_ALLOW_SEALING));
    P(write(fd, "hello", 5));
    P(fstat(fd, &s));
    printf("   mode %o nlink %ld size %ld\n", s.st_mode, (long)s.st_nlink, (long)s.st_size);
    sprintf(buf + 4000, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(buf + 4000, buf, 100);
    printf("   %.*s\n", (int)n, buf);
    P(fcntl(fd, F_GETFL));
    P(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    P(write(fd, "hello", 5));
    P(ftruncate(fd, 100));
    P(ftruncate(fd, 3));
    P(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_SEAL));
    P(pwrite(fd, "h", 1, 0));
    P(ftruncate(fd, 0));
    P(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    P(fcntl(fd, F_GET_SEALS));
    close(fd);
    fd = O(memfd_create("", 0));
    P(fcntl(fd, F_GET_SEALS));
    close(fd);
    X(memfd_create("x", 0x1000));
    X(memfd_create((char *)8, 0));
    memset(buf, 'n', 300), buf[249] = 0;
    X(memfd_create(buf, 0));
    buf[249] = 'n', buf[250] = 0;
    X(memfd_create(buf, 0));
}

static void devices(void)
{
    int fd = O(open("/dev/null", O_RDWR));
    P(read(fd, buf, 10));
    P(write(fd, buf, 10));
    P(write(fd, (void *)8, 10));
    P(lseek(fd, 100, SEEK_SET));
    P(pread(fd, buf, 10, 5));
    P(ftruncate(fd, 0));
    P(fallocate(fd, 0, 0, 1));
    P(fsync(fd));
    close(fd);
    fd = O(open("/dev/zero", O_RDWR));
    buf[0] = 'x';
    P(read(fd, buf, 100));
    printf("   %d\n", buf[0]);
    P(write(fd, buf, 10));
    char *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    P(m == MAP_FAILED);
    close(fd);
    fd = O(open("/dev/full", O_RDWR));
    P(read(fd, buf, 100));
    P(write(fd, buf, 10));
    P(lseek(fd, 10, SEEK_SET));
    close(fd);
    fd = O(open("/dev/urandom", O_RDONLY));
    P(read(fd, buf, 100));
    P(write(fd, buf, 10));
    close(fd);
    X(open("/dev/null", O_RDONLY | O_DIRECTORY));
    X(open("/dev/null/", O_RDONLY));
    X(open("/dev/null", O_RDWR | O_TRUNC | O_CREAT, 0644));
    X(open("/dev/shm/forkyard-test", O_RDWR | O_CREAT | O_EXCL, 0600));
    show("/dev/shm/forkyard-test");
    P(unlink("/dev/shm/forkyard-test"));
    show("/dev/null");
    show("/dev/zero");
    show("/dev/full");
    show("/dev/stdin");
    show("/dev/fd");
}

static void others(void)
{
    /* as somebody without privileges */
    put("secret", "s");
    chmod("secret", 0600);
    put("readable", "r");
    mkdir("closed", 0700);
    put("closed/x", "x");
    mkdir("sticky", 0777);
    chmod("sticky", 01777);
    put("sticky/mine", "x");
    chmod("sticky/mine", 0666);
    mkdir("open", 0777);
    chmod("open", 0777);
    put("open/his", "x");
    chmod(".", 0755);
    fflush(stdout);
    P(setgid(1234));
    P(setuid(1234));
    X(open("secret", O_RDONLY));
    X(open("readable", O_RDONLY));
    X(open("readable", O_RDWR));
    X(open("readable", O_RDONLY | O_TRUNC));
    X(open("readable", O_RDONLY | O_NOATIME));
    X(open("closed/x", O_RDONLY));
    X(open("nope", O_RDWR | O_CREAT, 0644));
    P(mkdir("nope", 0755));
    P(unlink("readable"));
    P(rename("readable", "x"));
    P(rename("readable", "open/x"));
    P(unlink("sticky/mine"));
    P(rename("sticky/mine", "sticky/m"));
    X(open("sticky/mine", O_RDWR | O_TRUNC));
    X(open("sticky/own", O_RDWR | O_CREAT, 0600));
    show("sticky/own");
    P(chown("sticky/own", 0, -1));
    P(chown("sticky/own", -1, 0));
    P(chown("sticky/own", 1234, 1234));
    P(chmod("sticky/own", 04755));
    show("sticky/own");
    P(chown("sticky/own", -1, -1));
    show("sticky/own");
    P(chmod("sticky/own", 02755));
    int fd = O(open("sticky/own", O_WRONLY));
    P(write(fd, "x", 1));
    close(fd);
    show("sticky/own");
    P(chmod("sticky/own", 0));
    X(open("sticky/own", O_RDONLY));
    P(access("sticky/own", R_OK));
    P(unlink("sticky/own"));
    P(unlink("open/his"));
    P(chmod("readable", 0666));
    P(utimes("readable", NULL));
    struct timeval tv[2] = {{1, 1}, {1, 1}};
    P(utimes("readable", tv));
    P(utimes("sticky/mine", NULL));
    P(utimes("sticky/mine", tv));
    P(truncate("readable", 0));
    P(link("secret", "open/l"));
    P(link("readable", "open/l"));
    P(access("readable", R_OK));
    P(access("readable", W_OK));
    P(access("closed", X_OK));
    P(chdir("closed"));
    P(chroot("."));
    P(mknod("open/dev", S_IFCHR | 0644, makedev(1, 3)));
    P(mknod("open/fifo", S_IFIFO | 0644, 0));
    P(setxattr("readable", "user.x", "y", 1, 0));
    P(setxattr("readable", "trusted.x", "y", 1, 0));
    P(getxattr("readable", "trusted.x", buf, 1));
    P(getxattr("secret", "user.x", buf, 1));
    P(readlink("closed/x", buf, 10));
}

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
    SECTION(opening);
    SECTION(opening2);
    SECTION(reading);
    SECTION(sizes);
    SECTION(names);
    SECTION(renames);
    SECTION(directories);
    SECTION(attributes);
    SECTION(extended);
    SECTION(memfds);
    SECTION(devices);
    if (getuid() == 0)
        SECTION(others);
    return 0;
}
