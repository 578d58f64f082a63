/* bench_forkserver MIB ROUNDS RUNS TABLES…: a fork server with MIB of memory.
 *
 * A run is fork, a child that writes one word under each of TABLES page tables (2 MiB), spread evenly, and exits, and the
 * wait for it. Prints TABLES and the mean time of a run, once a round. */
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
    long mib = number(argc, argv, 1, 16), rounds = number(argc, argv, 2, 3), runs = number(argc, argv, 3, 20);
    char *memory = populated(mib);
    for (long i = 0; i < mib << 20; i += 4096)
        memory[i] = 1;
    /* The first round is not counted: it takes its memory from the host. */
    for (long round = 0; round <= rounds; round++)
        for (int i = 4; i < argc; i++) {
            double start = now_ns();
            for (long run = 0; run < runs; run++)
                once(memory, mib << 20, atol(argv[i]));
            if (round > 0)
                report_as(argv[i], (now_ns() - start) / (double)runs);
        }
    return 0;
}
