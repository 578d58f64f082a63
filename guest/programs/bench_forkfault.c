/* bench_forkfault MIB ROUNDS: what accesses cost after a fork, once for each page table (2 MiB) of MIB of memory.
 *
 * With the child alive: `read` of a page, the first `write` under the table, the `next` write under it. After a child
 * that wrote nothing has gone: the first `again` and the next `after` it. A round is one value each for every table, in
 * order. Times are by the time-stamp counter: one access is too short for a system call beside it. */
#include "bench.h"
#include <sys/wait.h>
#include <x86intrin.h>

#define TABLE (2L << 20)
#define PAGE 4096
enum { READ, WRITE, NEXT, AGAIN, AFTER, KINDS };

static const char *const names[KINDS] = { "read", "write", "next", "again", "after" };

static double ns_per_tick(void)
{
    double start = now_ns();
    unsigned long ticks = __rdtsc();
    while (now_ns() - start < 2e7)
        ;
    return (now_ns() - start) / (double)(__rdtsc() - ticks);
}

/* A child that lives until `*hold` is closed. */
static pid_t fork_held(int *hold)
{
    int ends[2];
    char c;
    if (pipe(ends))
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        close(ends[1]);
        _exit(read(ends[0], &c, 1) != 0);
    }
    close(ends[0]);
    *hold = ends[1];
    return child;
}

static void reap(pid_t child, int hold)
{
    int status;
    close(hold);
    if (waitpid(child, &status, 0) != child || status)
        fail("waitpid");
}

int main(int argc, char **argv)
{
    long mib = number(argc, argv, 1, 64), rounds = number(argc, argv, 2, 5);
    char *memory = populated(mib);
    char *first = (char *)(((unsigned long)memory + TABLE - 1) & -(unsigned long)TABLE);
    long tables = (memory + (mib << 20) - first) / TABLE;
    double tick = ns_per_tick(), *times = calloc((size_t)(tables * KINDS), sizeof *times);
    if (times == NULL || tables < 1)
        fail("memory");
    /* Data of their own in the pages that are going to be copied. */
    for (long t = 0; t < tables; t++)
        for (int page = 1; page <= 4; page++)
            first[t * TABLE + page * PAGE] = (char)t;
    /* The first round is not counted: it takes its memory from the host. */
    for (long round = 0; round <= rounds; round++) {
        int hold;
        pid_t child = fork_held(&hold);
        for (long t = 0; t < tables; t++) {
            volatile char *table = first + t * TABLE;
            unsigned long a = __rdtsc();
            (void)table[1 * PAGE];
            unsigned long b = __rdtsc();
            table[2 * PAGE]++;
            unsigned long c = __rdtsc();
            table[3 * PAGE]++;
            unsigned long d = __rdtsc();
            times[t * KINDS + READ] = (double)(b - a) * tick;
            times[t * KINDS + WRITE] = (double)(c - b) * tick;
            times[t * KINDS + NEXT] = (double)(d - c) * tick;
        }
        reap(child, hold);
        child = fork_held(&hold);
        reap(child, hold);
        for (long t = 0; t < tables; t++) {
            volatile char *table = first + t * TABLE;
            unsigned long a = __rdtsc();
            table[2 * PAGE]++;
            unsigned long b = __rdtsc();
            table[3 * PAGE]++;
            unsigned long c = __rdtsc();
            times[t * KINDS + AGAIN] = (double)(b - a) * tick;
            times[t * KINDS + AFTER] = (double)(c - b) * tick;
        }
        if (round == 0)
            continue;
        for (int kind = 0; kind < KINDS; kind++)
            for (long t = 0; t < tables; t++)
                report_as(names[kind], times[t * KINDS + kind]);
    }
    return 0;
}
