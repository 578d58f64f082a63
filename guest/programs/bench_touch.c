/* bench_touch MIB: write to every page of that much memory. */
#include "bench.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    long size = number(argc, argv, 1, 64) << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    for (long i = 0; i < size; i += 4096)
        memory[i] = 1;
    return 0;
}
