/* What the bench programs share: `prog ROUNDS COUNT …` does COUNT operations ROUNDS times and prints the nanoseconds
 * that one operation took, a line a round. They run natively, under Forkyard, qemu-user and strace alike. */
#ifndef FORKYARD_BENCH_H
#define FORKYARD_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static long number(int argc, char **argv, int index, long otherwise)
{
    return argc > index ? atol(argv[index]) : otherwise;
}

static void report(double ns)
{
    printf("%.2f\n", ns);
    fflush(stdout);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

#endif
