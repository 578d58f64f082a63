// Takes all the memory there is when the input says so.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    char byte;
    if (read(0, &byte, 1) != 1) return 1;
    while (byte == 'o') {
        char *more = malloc(1 << 20);
        if (!more) return 2;
        memset(more, 1, 1 << 20);
    }
    return 0;
}
