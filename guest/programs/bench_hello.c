/* bench_hello: the smallest real program. */
#include <stdio.h>

int main(void)
{
    puts("hello, world");
    return 0;
}
