/* Signals, timers and interrupted calls in one process, for the tracer: each call is interrupted as strace shows it. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void handler(int signo)
{
    (void)signo;
}

static void alarm_soon(void)
{
    struct itimerval timer = {{0, 0}, {2, 0}}; /* time enough to get to the call, on a busy machine */
    setitimer(ITIMER_REAL, &timer, NULL);
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler};
    struct timespec second = {5, 0}, left;
    siginfo_t info;
    sigset_t set;
    int ends[2];
    char byte;

    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    alarm_soon();
    pause();
    alarm_soon();
    nanosleep(&second, &left);
    alarm_soon();
    pipe(ends);
    read(ends[0], &byte, 1);
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    alarm_soon();
    struct pollfd set_of_one = {ends[0], POLLIN, 0};
    poll(&set_of_one, 1, 5000);
    write(ends[1], "x", 1);
    poll(&set_of_one, 1, 5000);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    sigpending(&set);
    sigtimedwait(&set, &info, &second);
    second.tv_sec = 0;
    sigtimedwait(&set, &info, &second);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    write(ends[1], "x", 1);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR2);
    *(volatile char *)8 = 1;
    return 0;
}
