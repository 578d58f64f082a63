// What a program does before it first looks at its input (argv[1]), and what it makes of that afterwards.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];
static char *shared;
static volatile int done;

static void *echo(void *arg) {
    char byte;
    while (read(ends[0], &byte, 1) == 1) done = byte;
    return NULL;
}

__attribute__((noinline)) int checksum(void) {
    unsigned sum = 0;
    const unsigned char *code = (const unsigned char *)checksum;
    for (int i = 0; i < 64; i++) sum = sum * 31 + code[i];
    return (int)(sum % 100);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t thread;
    char byte = 0;
    if (!strcmp(what, "thread")) {
        if (pipe(ends)) return 90;
        pthread_create(&thread, NULL, echo, NULL);
    } else if (!strcmp(what, "pipe")) {
        if (pipe(ends) || write(ends[1], "abc", 3) != 3) return 91;
    } else if (!strcmp(what, "shared")) {
        shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    } else if (!strcmp(what, "timer")) {
        struct itimerval soon = {{0, 0}, {100, 0}};
        setitimer(ITIMER_REAL, &soon, NULL);
    } else if (!strcmp(what, "lock")) {
        int fd = open("/tmp/forkserver-lock", O_RDWR | O_CREAT, 0600);
        if (lockf(fd, F_TLOCK, 1)) return 92;
    } else if (!strcmp(what, "child")) {
        if (!fork()) for (;;) pause();
    } else if (!strcmp(what, "gone")) {
        if (!fork()) _exit(0);
        wait(NULL);
    } else if (!strcmp(what, "stat")) {
        struct stat info;
        return fstat(0, &info) ? 93 : (int)info.st_size;
    } else if (!strcmp(what, "map")) {
        char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
        return map[0];
    } else if (!strcmp(what, "name")) {
        int fd = open("/dev/stdin", O_RDONLY);
        return read(fd, &byte, 1) == 1 ? byte : 94;
    } else if (!strcmp(what, "poll")) {
        struct pollfd wanted = {0, POLLIN, 0};
        poll(&wanted, 1, -1);
        isatty(0);
        dup2(0, 50);
        return read(50, &byte, 1) == 1 ? byte : 95;
    } else if (!strcmp(what, "never")) {
        return 5;
    } else if (!strcmp(what, "sum")) {
        int sum = checksum();
        return read(0, &byte, 1) == 1 ? sum : 97;
    }
    if (read(0, &byte, 1) != 1) return 98;
    if (!strcmp(what, "thread")) {
        if (write(ends[1], &byte, 1) != 1) return 99;
        while (!done) continue;
        return done;
    }
    if (!strcmp(what, "pipe")) return read(ends[0], &byte, 1) == 1 ? byte : 100;
    if (shared) return ++*shared;
    if (!strcmp(what, "timer")) {
        struct itimerval left;
        getitimer(ITIMER_REAL, &left);
        return left.it_value.tv_sec > 0;
    }
    if (!strcmp(what, "lock")) {
        int fd = open("/tmp/forkserver-lock", O_RDWR);
        return lockf(fd, F_TEST, 1) ? 101 : 7;
    }
    return byte;
}
