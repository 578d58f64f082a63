/* bench_call ROUNDS COUNT CALL: one system call in a loop. getppid is answered in the compiled hook, getpgid(0) in
 * Python. */
#include "bench.h"
#include <sys/syscall.h>

int main(int argc, char **argv)
{
    long rounds = number(argc, argv, 1, 3), count = number(argc, argv, 2, 100000);
    long call = argc > 3 && !strcmp(argv[3], "getpgid") ? SYS_getpgid : SYS_getppid;
    while (rounds--) {
        double start = now_ns();
        for (long i = 0; i < count; i++)
            syscall(call, 0);
        report((now_ns() - start) / count);
    }
    return 0;
}
