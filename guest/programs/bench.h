/* What the bench programs share. `prog ROUNDS COUNT …` does COUNT operations ROUNDS times and prints the nanoseconds that
 * one operation took, a line a round; the programs of an experiment print a name in front of each value. They run
 * natively, under Forkyard, qemu-user and strace alike. */
#ifndef FORKYARD_BENCH_H
#define FORKYARD_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static inline double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static inline long number(int argc, char **argv, int index, long otherwise)
{
    return argc > index ? atol(argv[index]) : otherwise;
}

static inline void report(double ns)
{
    printf("%.2f\n", ns);
    fflush(stdout);
}

static inline void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* One value of an experiment. Not flushed: writing must not come between two measurements. */
static inline void report_as(const char *name, double value)
{
    printf("%s %.1f\n", name, value);
}

static inline void put_setting(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, value, 1) != 1)
        fail(path);
    close(fd);
}

/* How the forks from now on work: `classic`, `odf 1` and `odf 2` of Forkyard; anything else leaves it to the host. */
static inline void choose_fork(const char *kind)
{
    if (!strcmp(kind, "classic")) {
        put_setting("/proc/self/use_odf", "0");
    } else if (!strncmp(kind, "odf ", 4)) {
        put_setting("/proc/self/use_odf_level", kind + 4);
        put_setting("/proc/self/use_odf", "1");
    }
}

/* The words between the commas of `list`, in it; returns their number, at most `room`. */
static inline int split(char *list, char **words, int room)
{
    int count = 0;
    for (char *word = strtok(list, ","); word != NULL && count < room; word = strtok(NULL, ","))
        words[count++] = word;
    return count;
}

/* MIB of private memory in pages of 4 KiB that are all there; NULL for none. */
static inline char *populated(long mib)
{
    if (mib == 0)
        return NULL;
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

#endif
