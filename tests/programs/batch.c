/* Runs the command lines of the directories named in ./list, one after the other (tests/harness.py: Batch).
 *
 * In each directory: argv (words ended by NUL) is run in work/ with stdin, stdout and stderr there as files; its
 * shell status (128+N for a signal, 126/127 when exec fails) goes to the file status. `batch SECONDS`: limit a case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char words[1 << 16], *argv_of_case[1024];

static void open_as(const char *name, int flags, int fd)
{
    int f = open(name, flags, 0644);
    if (f < 0) {
        dprintf(2, "batch: %s: %s\n", name, strerror(errno));
        _exit(125);
    }
    if (f != fd) {
        dup2(f, fd);
        close(f);
    }
}

static void run_case(const char *home)
{
    if (chdir(home)) {
        dprintf(2, "batch: %s: %s\n", home, strerror(errno));
        _exit(125);
    }
    int f = open("argv", O_RDONLY), argc = 0;
    ssize_t n = read(f, words, sizeof words - 1);
    close(f);
    for (char *w = words; w < words + n; w += strlen(w) + 1)
        argv_of_case[argc++] = w;
    open_as("stdin", O_RDONLY, 0);
    open_as("stdout", O_WRONLY | O_CREAT | O_TRUNC, 1);
    open_as("stderr", O_WRONLY | O_CREAT | O_TRUNC, 2);
    setpgid(0, 0);
    if (chdir("work"))
        _exit(125);
    execvp(argv_of_case[0], argv_of_case);
    int error = errno;
    dprintf(2, "%s: %s\n", argv_of_case[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126);
}

static volatile pid_t running;

static void on_alarm(int signo)
{
    (void)signo;
    kill(-running, SIGKILL);
    kill(running, SIGKILL);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 60, status;
    char line[4096], path[4200];
    FILE *list = fopen("list", "re");
    if (!list)
        return 1;
    signal(SIGALRM, on_alarm);
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        pid_t pid = fork();
        if (pid < 0)
            return 2;
        if (pid == 0) {
            signal(SIGALRM, SIG_DFL);
            run_case(line);
        }
        running = pid;
        alarm(seconds);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        alarm(0);
        snprintf(path, sizeof path, "%s/status", line);
        FILE *out = fopen(path, "we");
        fprintf(out, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fclose(out);
    }
    return 0;
}
