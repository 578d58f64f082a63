/* Reading small files of /proc, for the proc_*.c programs. */
#ifndef FORKYARD_PROC_H
#define FORKYARD_PROC_H

#include "test.h"

static char proc_text[1 << 18] TEST_UNUSED;

/* The contents of a file, NUL-terminated, in proc_text; the length, or -1 with errno. */
TEST_UNUSED static long proc_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    long done = 0;
    for (;;) {
        long n = read(fd, proc_text + done, sizeof proc_text - 1 - done);
        if (n <= 0) {
            int e = errno;
            close(fd);
            errno = e;
            if (n < 0)
                return -1;
            break;
        }
        done += n;
    }
    proc_text[done] = 0;
    return done;
}

/* What follows "name:" and blanks in proc_text, up to the end of the line; NULL when there is no such line. */
TEST_UNUSED static const char *proc_field(const char *name)
{
    static char value[512];
    size_t length = strlen(name);
    for (char *line = proc_text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, length) || line[length] != ':')
            continue;
        line += length + 1;
        while (*line == ' ' || *line == '\t')
            line++;
        size_t n = strcspn(line, "\n");
        if (n >= sizeof value)
            n = sizeof value - 1;
        memcpy(value, line, n);
        value[n] = 0;
        return value;
    }
    return NULL;
}

TEST_UNUSED static long proc_number(const char *name)
{
    const char *value = proc_field(name);
    return value ? strtol(value, NULL, 0) : -1;
}

/* Write a string; the count, or -1 with errno. */
TEST_UNUSED static long proc_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    long n = write(fd, text, strlen(text));
    int e = errno;
    close(fd);
    errno = e;
    return n;
}

#endif
