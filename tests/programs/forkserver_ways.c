// One byte of input chooses what the program does: the ways in which a run can end, and what it can leave behind.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int zero, flag;

static void *sleeper(void *arg) {
    for (;;) sleep(100);
    return NULL;
}

static void *setter(void *arg) {
    *(int *)arg = 7;
    return NULL;
}

static void *spinner(void *arg) {
    for (;;) flag++;
    return NULL;
}

static void on_alarm(int signo) { _exit(33); }

static void handled(int signo) { _exit(34); }

static int start_thread(void *(*body)(void *), void *arg, int join) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, arg)) return 99;
    if (join) pthread_join(thread, NULL);
    return 0;
}

static int wait_for_child(pid_t pid) {
    int status;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? 64 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int change_files(const char *base) {
    char name[300], other[300];
    snprintf(name, sizeof name, "%s.made", base);
    snprintf(other, sizeof other, "%s.moved", base);
    FILE *file = fopen(name, "a");
    fputs("0123456789", file);
    long size = ftell(file);
    fclose(file);
    chmod(name, 0600);
    if (rename(name, other)) return 90;
    snprintf(name, sizeof name, "%s.dir", base);
    if (mkdir(name, 0755)) return 91;
    return (int)size;
}

static int spoil_input(const char *path) {
    if (!path) return ftruncate(0, 0) ? 1 : 0;
    int fd = open(path, O_RDWR | O_TRUNC);
    if (write(fd, "spoilt", 6) != 6) return 92;
    close(fd);
    return unlink(path) ? 93 : 20;
}

static int act(char how, char next, const char *path) {
    int value = 0;
    switch (how) {
    case '0': return next - '0';
    case 'a': abort();
    case 's': return *(volatile int *)0;
    case 'w': *(volatile char *)on_alarm = 1; return 1;
    case 'd': return 1 / zero;
    case 'i': __builtin_trap();
    case 'k': kill(getpid(), SIGKILL); return 1;
    case 'g': kill(0, SIGTERM); return 1;
    case 'r': raise(SIGUSR1); return 1;
    case 'b': *(volatile char *)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open("/dev/zero", O_RDONLY), 0) = 1; return 1;
    case 'h': signal(SIGSEGV, handled); return *(volatile int *)0;
    case 'C': {
        pid_t pid = fork();
        if (!pid) abort();
        return wait_for_child(pid);
    }
    case 'l': if (!fork()) for (;;) pause(); return 21;
    case 'L': if (!fork()) { setsid(); if (!fork()) { alarm(3); for (;;) flag++; } _exit(0); } wait(NULL); return 22;
    case 't': return start_thread(sleeper, NULL, 0) + 23;
    case 'T': start_thread(setter, &value, 1); return 24 + value;
    case 'S': start_thread(spinner, NULL, 0); for (volatile int i = 0; i < 3000000; i++) continue; return 25;
    case 'x': start_thread(sleeper, NULL, 0); abort();
    case 'A': signal(SIGALRM, on_alarm); alarm(2); for (;;) pause();
    case 'z': sleep(1); return 26;
    case 'm': return change_files(path ? path : "forkserver-ways");
    case 'u': return spoil_input(path);
    case 'p': return read(0, &value, 1) + 27;
    case 'H': for (;;) flag++;
    case 'P': for (;;) pause();
    case 'Y': for (;;) getppid();
    case 'F': for (;;) close(open("/dev/null", O_RDONLY));
    case 'B': { int ends[2]; return pipe(ends) ? 1 : (int)read(ends[0], &value, 1); }
    case 'V': { if (!vfork()) { execl("/bin/true", "true", NULL); _exit(95); } return wait(&value) > 0 ? 28 : 96; }
    case 'e': execl("/bin/sh", "sh", "-c", "exit 29", NULL); return 97;
    }
    return 2;
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : NULL;
    char input[64] = "";
    int fd = path ? open(path, O_RDONLY) : 0;
    if (fd < 0 || read(fd, input, sizeof input - 1) < 1) return 1;
    return act(input[0], input[1], path);
}
