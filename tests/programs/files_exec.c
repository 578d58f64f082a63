/* ETXTBSY both ways, and shared file mappings next to read and write. Prints results; the host is the oracle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define P(e)                                                                              \
    do {                                                                                  \
        errno = 0;                                                                        \
        long r_ = (long)(e);                                                              \
        printf("%s = %ld %s\n", #e, r_, r_ < 0 ? strerrorname_np(errno) : "");            \
    } while (0)

int main(int argc, char **argv)
{
    static char b[1 << 16];
    int status;
    if (argc > 1) {
        /* the copy: says that it runs, then waits for the end of its input */
        write(4, "r", 1);
        while (read(3, b, 1) > 0)
            ;
        return 0;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    P(open("/proc/self/exe", O_WRONLY));
    P(open(argv[0], O_RDONLY | O_TRUNC));
    P(truncate(argv[0], 0));
    int source = open(argv[0], O_RDONLY), copy = open("copy", O_CREAT | O_RDWR | O_TRUNC, 0755);
    for (ssize_t n; (n = read(source, b, sizeof b)) > 0;)
        write(copy, b, n);
    close(source);
    if (fork() == 0) {
        P(execl("./copy", "copy", "x", NULL));
        _exit(9);
    }
    wait(&status);
    printf("%x\n", status);
    close(copy);
    int stop[2], ready[2];
    pipe(stop), pipe(ready);
    if (fork() == 0) {
        int input = dup(stop[0]), output = dup(ready[1]);
        close(stop[0]), close(stop[1]), close(ready[0]), close(ready[1]);
        dup2(input, 3), dup2(output, 4);
        close(input), close(output);
        execl("./copy", "copy", "x", NULL);
        _exit(9);
    }
    close(stop[0]), close(ready[1]);
    P(read(ready[0], b, 1));
    P(open("copy", O_RDWR));
    P(truncate("copy", 0));
    P(unlink("copy"));
    close(stop[1]);
    wait(&status);
    printf("%x\n", status);

    int fd = open("shared", O_CREAT | O_RDWR, 0644);
    ftruncate(fd, 8192);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(m, "shared");
    read(fd, b, 6);
    printf("%.6s\n", b);
    pwrite(fd, "SH", 2, 0);
    printf("%s\n", m);
    m[5000] = 1;
    ftruncate(fd, 4096);
    ftruncate(fd, 8192);
    P(m[5000]);
    P(mmap(0, 4096, PROT_WRITE, MAP_SHARED, open("/etc/passwd", O_RDONLY), 0));
    P(mmap(0, 4096, PROT_READ, MAP_SHARED, open("shared", O_WRONLY), 0));
    P(mmap(0, 4096, PROT_READ, MAP_PRIVATE, open("/dev/null", O_RDONLY), 0));
    P(mmap(0, 4096, PROT_READ, MAP_PRIVATE, open("/", O_RDONLY), 0));
    munmap(m, 8192);
    unlink("shared");
    return 0;
}
