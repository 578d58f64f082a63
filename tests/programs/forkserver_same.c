// Prints what differs from run to run on a real machine: numbers, times, random bytes, addresses, scheduling.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned turns[2];
static char order[64];
static volatile unsigned filled;

static void *racer(void *arg) {
    long me = (long)arg;
    for (int i = 0; i < 400000; i++) {
        turns[me]++;
        if (i % 50000 == 0 && filled < sizeof order - 1) order[filled++] = (char)('a' + me);
    }
    return NULL;
}

int main(int argc, char **argv) {
    char input[8];
    int fd = argc > 1 ? open(argv[1], O_RDONLY) : 0;
    if (read(fd, input, sizeof input) < 1) return 1;
    unsigned long random;
    struct timespec now;
    struct stat info;
    getrandom(&random, sizeof random, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    fstat(fd, &info);
    printf("pid %d parent %d random %lx time %ld.%09ld clock %ld\n", getpid(), getppid(), random, (long)now.tv_sec,
           now.tv_nsec, (long)clock());
    printf("stack %p heap %p code %p seed %lx\n", (void *)&now, malloc(100), (void *)main,
           *(unsigned long *)getauxval(AT_RANDOM));
    printf("input inode %lu size %ld mtime %ld atime %ld offset %ld\n", (unsigned long)info.st_ino, (long)info.st_size,
           (long)info.st_mtime, (long)info.st_atime, (long)lseek(fd, 0, SEEK_CUR));
    struct sysinfo memory;
    sysinfo(&memory);
    printf("memory %lu free %lu buffers %lu processes %u up %ld\n", memory.totalram, memory.freeram, memory.bufferram,
           memory.procs, memory.uptime);
    char name[] = "/tmp/forkserver-XXXXXX";
    int made = mkstemp(name);
    fstat(made, &info);
    printf("temporary %s inode %lu\n", name, (unsigned long)info.st_ino);
    pthread_t threads[2];
    for (long i = 0; i < 2; i++) pthread_create(&threads[i], NULL, racer, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    pid_t child = fork();
    if (!child) _exit(3);
    int status;
    wait(&status);
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("order %s child %d status %x at %ld.%09ld\n", order, child, status, (long)now.tv_sec, now.tv_nsec);
    return 0;
}
