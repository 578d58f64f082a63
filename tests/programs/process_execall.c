/* Execute DIRECTORY/0 … DIRECTORY/N-1, whatever they are, each for at most a second, and say "done". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (int i = 0; i < atoi(argv[2]); i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%d", argv[1], i);
        pid_t pid = fork();
        if (pid == 0) {
            int null = open("/dev/null", O_RDWR);
            for (int fd = 0; fd < 3; fd++)
                dup2(null, fd);
            alarm(1);
            execl(name, name, NULL);
            _exit(errno);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == ENOENT && access(name, F_OK)))
            return 1;
    }
    puts("done");
    return 0;
}
