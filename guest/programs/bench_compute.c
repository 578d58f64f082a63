/* bench_compute ROUNDS COUNT: integer arithmetic, branches and memory. `work` touches nothing but its own stack, so that
 * emu/bare.py can run it in an engine without anything around it. */
#include "bench.h"

unsigned long work(unsigned long count);

__attribute__((noinline, used)) unsigned long work(unsigned long count)
{
    volatile unsigned char table[4096];
    unsigned long x = 88172645463325252UL, sum = 0;
    for (unsigned i = 0; i < sizeof table; i++)
        table[i] = (unsigned char)(i * 7);
    while (count--) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        unsigned slot = x & 4095;
        if (table[slot] & 1)
            sum += x;
        else
            table[slot] = (unsigned char)(sum >> 3);
    }
    return sum;
}

int main(int argc, char **argv)
{
    long rounds = number(argc, argv, 1, 3), count = number(argc, argv, 2, 1000000);
    while (rounds--) {
        double start = now_ns();
        volatile unsigned long result = work((unsigned long)count);
        (void)result;
        report((now_ns() - start) / count);
    }
    return 0;
}
