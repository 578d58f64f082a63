/* bench_fork ROUNDS COUNT [MIB]: fork, exit, wait4, in a process that has written to MIB of memory. With an MIB the
 * time is that of the fork call alone. */
#include "bench.h"
#include <sys/mman.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    long rounds = number(argc, argv, 1, 3), count = number(argc, argv, 2, 100), mib = number(argc, argv, 3, 0);
    if (mib) {
        char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        madvise(memory, mib << 20, MADV_NOHUGEPAGE);
        for (long i = 0; i < mib << 20; i += 4096)
            memory[i] = 1;
    }
    while (rounds--) {
        double spent = 0;
        for (long i = 0; i < count; i++) {
            int status;
            double start = now_ns();
            pid_t child = fork();
            if (child == 0)
                _exit(0);
            if (child < 0)
                fail("fork");
            if (mib)
                spent += now_ns() - start;
            if (wait4(child, &status, 0, NULL) != child || status)
                fail("wait4");
            if (!mib)
                spent += now_ns() - start;
        }
        report(spent / count);
    }
    return 0;
}
