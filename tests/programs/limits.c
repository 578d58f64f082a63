/* What meets its limit: `limits forks`, `limits memory MB`, `limits hog MB`, `limits unknown`, `limits threads`. */
#define TEST_NO_MAIN
#include "test.h"
#include <pthread.h>

static void forks(void)
{
    int n = 0, error = 0;
    for (;; n++) {
        pid_t pid = fork();
        if (pid < 0) {
            error = errno;
            break;
        }
        if (pid == 0)
            for (;;)
                pause();
        if (n > 100000)
            break;
    }
    test_print("fork: %s after more than 10: %d\n", test_errno_name(error), n > 10);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    int reaped = 0, status;
    while (wait(&status) > 0)
        reaped += WTERMSIG(status) == SIGTERM;
    test_print("all reaped: %d\n", reaped == n);
    pid_t pid = fork(); /* there is room again */
    if (pid == 0)
        _exit(0);
    test_print("again: %d\n", pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void *wait_forever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void threads(void)
{
    int n = 0, error = 0;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    pthread_t thread;
    while (n < 100000 && !(error = pthread_create(&thread, &attr, wait_forever, NULL)))
        n++;
    test_print("pthread_create: %s after more than 10: %d\n", test_errno_name(error), n > 10);
}

/* Touches `megabytes` in a child; what the parent sees of its end. */
static void memory(long megabytes)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (long i = 0; i < megabytes; i++) {
            unsigned char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED)
                _exit(3);
            for (int k = 0; k < 256; k++)
                p[k * TEST_PAGE] = 1;
        }
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        test_print("signal %d\n", WTERMSIG(status));
    else
        test_print("exit %d\n", WEXITSTATUS(status));
    unsigned char *p = test_map(8 << 20); /* its memory has come back */
    memset(p, 1, 8 << 20);
    test_print("alive\n");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    test_pid = getpid();
    if (strcmp(what, "forks") == 0)
        forks();
    else if (strcmp(what, "threads") == 0)
        threads();
    else if (strcmp(what, "memory") == 0)
        memory(atol(argv[2]));
    else if (strcmp(what, "hog") == 0) {
        for (long i = atol(argv[2]); i > 0; i--)
            memset(test_map(1 << 20), 1, 1 << 20);
        test_print("got it all\n");
    } else if (strcmp(what, "unknown") == 0)
        for (int i = 0; i < 3; i++) {
            long r = syscall(9999);
            test_print("%ld %s\n", r, test_errno_name(errno));
        }
    return 0;
}
