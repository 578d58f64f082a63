/* Figures of /proc, without stdio. */
#ifndef FORKYARD_FIGURES_H
#define FORKYARD_FIGURES_H
#include "test.h"

/* All of a file as a string, cut at size - 1. */
TEST_UNUSED static char *whole_file(const char *path, char *text, size_t size)
{
    size_t n = 0;
    int fd = TEST_SUCC(open(path, O_RDONLY));
    for (ssize_t got; n < size - 1 && (got = TEST_SUCC(read(fd, text + n, size - 1 - n))) > 0;)
        n += got;
    close(fd);
    text[n] = 0;
    return text;
}

/* A figure of a file like /proc/meminfo or /proc/self/status, in kB; -1 when it is not there. */
TEST_UNUSED static long figure_kb(const char *path, const char *field)
{
    static char text[8192];
    size_t width = strlen(field);
    for (char *line = whole_file(path, text, sizeof text); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, field, width) == 0 && line[width] == ':')
            return atol(line + width + 1);
    }
    return -1;
}

/* The next line of smaps that belongs to a mapping which overlaps [p, p + length); NULL at the end. Begin with *at
 * the text; the text is cut into lines. */
TEST_UNUSED static char *smaps_line(char **at, int *inside, const void *p, size_t length)
{
    while (**at) {
        char *line = *at, *end = strchr(line, '\n');
        unsigned long from, to;
        *at = end ? end + 1 : line + strlen(line);
        if (end)
            *end = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            *inside = from < (uintptr_t)p + length && to > (uintptr_t)p;
        else if (*inside)
            return line;
    }
    return NULL;
}

/* The figure of smaps (kB), summed over the mappings that overlap [p, p + length). */
TEST_UNUSED static long smaps_kb(const void *p, size_t length, const char *field)
{
    static char text[1 << 17];
    char *at = whole_file("/proc/self/smaps", text, sizeof text);
    long kb = 0;
    int inside = 0;
    size_t width = strlen(field);
    for (char *line; (line = smaps_line(&at, &inside, p, length));)
        if (strncmp(line, field, width) == 0 && line[width] == ':')
            kb += atol(line + width + 1);
    return kb;
}

/* The mapping at p has the VM_* flag of that name in smaps. */
TEST_UNUSED static int has_flag(const void *p, const char *flag)
{
    static char text[1 << 17];
    char *at = whole_file("/proc/self/smaps", text, sizeof text);
    int inside = 0;
    for (char *line; (line = smaps_line(&at, &inside, p, 1));)
        if (strncmp(line, "VmFlags:", 8) == 0)
            for (char *word = line + 8; (word = strstr(word, flag)); word += 2)
                if (word[-1] == ' ' && (word[2] == ' ' || word[2] == 0))
                    return 1;
    return 0;
}
#endif
