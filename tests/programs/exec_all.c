/* Execs every file named in ./list, each in a child, and prints what became of it (tests/test_bad_input.py). */
#define TEST_NO_MAIN
#include "test.h"
#include <sys/resource.h>

int main(void)
{
    static char names[1 << 20];
    int fd = open("list", O_RDONLY), status;
    ssize_t n = read(fd, names, sizeof names - 1);
    close(fd);
    for (char *name = strtok(names, "\n"); n > 0 && name; name = strtok(NULL, "\n")) {
        int tell[2];
        pipe2(tell, O_CLOEXEC);
        pid_t pid = fork();
        if (pid == 0) {
            int null = open("/dev/null", O_RDWR);
            struct rlimit core = {0, 0}, cpu = {2, 2};
            setrlimit(RLIMIT_CORE, &core);
            setrlimit(RLIMIT_CPU, &cpu);
            dup2(null, 0), dup2(null, 1), dup2(null, 2);
            close(null);
            alarm(20);
            char *argv[] = {name, "argument", NULL}, *envp[] = {"A=1", NULL};
            execve(name, argv, envp);
            int error = errno;
            write(tell[1], &error, sizeof error);
            _exit(255);
        }
        close(tell[1]);
        int error = 0;
        ssize_t failed = read(tell[0], &error, sizeof error);
        close(tell[0]);
        waitpid(pid, &status, 0);
        if (failed == sizeof error)
            test_print("%s: %s\n", name, test_errno_name(error));
        else if (WIFEXITED(status))
            test_print("%s: exit %d\n", name, WEXITSTATUS(status));
        else
            test_print("%s: signal %d\n", name, WTERMSIG(status));
    }
    return 0;
}
