/* Makes the system calls that a file lists: one call a line (number and arguments), "! address size value" to store a
   value, "zero" to clear the arena of 64 KiB at 0x10000000. A call that might end or hang the process is the list's
   fault. Between calls there is a getuid(), so that one line of a trace can be told from the next. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARENA ((char *)0x10000000)

int main(int argc, char **argv)
{
    char line[4096];
    FILE *list = argc > 1 ? fopen(argv[1], "r") : NULL;

    if (!list || mmap(ARENA, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != ARENA)
        return 1;
    while (fgets(line, sizeof line, list)) {
        unsigned long a[8] = {0};
        int n = 0;
        char *word = strtok(line, " \n");
        if (!word)
            continue;
        if (*word == '!') {
            unsigned long address = strtoul(strtok(NULL, " \n"), NULL, 0);
            unsigned long size = strtoul(strtok(NULL, " \n"), NULL, 0);
            unsigned long value = strtoul(strtok(NULL, " \n"), NULL, 0);
            memcpy((void *)address, &value, size);
        } else if (*word == 'z') {
            memset(ARENA, 0, 0x10000);
        } else {
            for (; word && n < 7; word = strtok(NULL, " \n"))
                a[n++] = strtoul(word, NULL, 0);
            syscall(SYS_getuid);
            syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
        }
    }
    return 0;
}
