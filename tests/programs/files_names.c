/* Names: made, linked, moved, removed and listed. */
#include "files.h"

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

static void sections(void)
{
    SECTION(names);
    SECTION(renames);
    SECTION(directories);
}
