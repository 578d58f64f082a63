/* bench_pipe ROUNDS COUNT: write one byte into a pipe and read it, in one process. */
#include "bench.h"

int main(int argc, char **argv)
{
    long rounds = number(argc, argv, 1, 3), count = number(argc, argv, 2, 10000);
    int fds[2];
    char c = 'x';
    if (pipe(fds))
        fail("pipe");
    while (rounds--) {
        double start = now_ns();
        for (long i = 0; i < count; i++)
            if (write(fds[1], &c, 1) != 1 || read(fds[0], &c, 1) != 1)
                fail("pipe");
        report((now_ns() - start) / count);
    }
    return 0;
}
