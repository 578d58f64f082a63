/* Attributes, files without names, devices, and what somebody without privileges may do. */
#include "files.h"

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
    const char *own = test_own_name("/dev/shm/forkyard-test-");
    unlink(own); /* of a run that was killed */
    X(open(own, O_RDWR | O_CREAT | O_EXCL, 0600));
    show_as("/dev/shm/…", own);
    P(unlink(own));
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

static void sections(void)
{
    SECTION(attributes);
    SECTION(extended);
    SECTION(memfds);
    SECTION(devices);
    if (getuid() == 0)
        SECTION(others);
}
