/* bench_fault ROUNDS PAGES zero|cow: the time of a first write to a page of zeros, or to one shared with a child.
 *
 * Every round uses the frames that the round before gave back. */
#include "bench.h"
#include <sys/mman.h>
#include <sys/wait.h>

static void touch(char *memory, long pages)
{
    for (long i = 0; i < pages; i++)
        memory[i * 4096] = 1;
}

int main(int argc, char **argv)
{
    long rounds = number(argc, argv, 1, 3), pages = number(argc, argv, 2, 2048);
    int cow = argc > 3 && !strcmp(argv[3], "cow");
    while (rounds--) {
        int hold[2], status;
        pid_t child = 0;
        char c;
        char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            fail("mmap");
        madvise(memory, pages * 4096, MADV_NOHUGEPAGE);
        if (cow) {
            touch(memory, pages);
            if (pipe(hold))
                fail("pipe");
            child = fork();
            if (child == 0) {
                close(hold[1]);
                _exit(read(hold[0], &c, 1) != 0);
            }
            close(hold[0]);
        }
        double start = now_ns();
        touch(memory, pages);
        report((now_ns() - start) / pages);
        if (cow) {
            close(hold[1]);
            waitpid(child, &status, 0);
        }
        munmap(memory, pages * 4096);
    }
    return 0;
}
