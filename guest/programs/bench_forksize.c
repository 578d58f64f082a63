/* bench_forksize MIB FORKS: the time of the fork call in a process with MIB of memory, as in figure 1 of the paper.
 *
 * Prints `first` for the first call and `fork` for each of the others. The child ends at once and is waited for. */
#include "bench.h"
#include <sys/wait.h>

int main(int argc, char **argv)
{
    long mib = number(argc, argv, 1, 64), forks = number(argc, argv, 2, 8);
    populated(mib);
    for (long i = 0; i <= forks; i++) {
        int status;
        double start = now_ns();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        double end = now_ns();
        if (child < 0)
            fail("fork");
        if (waitpid(child, &status, 0) != child || status)
            fail("waitpid");
        report_as(i == 0 ? "first" : "fork", end - start);
    }
    return 0;
}
