/* bench_forkserver MIB ROUNDS RUNS TABLES,… KIND,…: a fork server with MIB of memory.
 *
 * A run is fork, a child that writes one word under each of TABLES page tables (2 MiB), spread evenly, and exits, and the
 * wait for it. The kinds of fork take turns, RUNS each. Prints `KIND:TABLES` and the mean time of a run, once a round. */
#include "bench.h"
#include <sys/wait.h>

static void once(char *memory, long bytes, long tables)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        for (long i = 0; i < tables; i++)
            ++*(volatile long *)(memory + bytes / tables * i);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status)
        fail("waitpid");
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fputs("bench_forkserver MIB ROUNDS RUNS TABLES,… KIND,…\n", stderr);
        return 2;
    }
    long mib = number(argc, argv, 1, 16), rounds = number(argc, argv, 2, 3), runs = number(argc, argv, 3, 20);
    char *tables[32], *kinds[8], name[64], *memory = populated(mib);
    int rows = split(argv[4], tables, 32), count = split(argv[5], kinds, 8);
    for (long i = 0; i < mib << 20; i += 4096)
        memory[i] = 1;
    /* The first round is not counted: it takes its memory from the host. */
    for (long round = 0; round <= rounds; round++)
        for (int row = 0; row < rows; row++)
            for (int kind = 0; kind < count; kind++) {
                choose_fork(kinds[kind]);
                double start = now_ns();
                for (long run = 0; run < runs; run++)
                    once(memory, mib << 20, atol(tables[row]));
                double ns = (now_ns() - start) / (double)runs;
                snprintf(name, sizeof name, "%s:%s", kinds[kind], tables[row]);
                if (round > 0)
                    report_as(name, ns);
            }
    return 0;
}
