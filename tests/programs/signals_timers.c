/* alarm, setitimer, the timer_* family, and sleeping. Times are only compared where any machine must agree. */
#include "test.h"
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t count;
static volatile siginfo_t seen;

static void on_info(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
    count++;
}

static void catch(int signo)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_info;
    action.sa_flags = SA_SIGINFO;
    TEST_SUCC(sigaction(signo, &action, NULL));
    count = 0;
}

static long now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

FN_TEST(alarm_tells_what_was_left)
{
    catch(SIGALRM);
    TEST_EQ(alarm(0), 0);
    unsigned first, second;
    long begun;
    do { /* whole seconds, rounded: what is left is known where less than half a one has passed */
        begun = now_us(CLOCK_MONOTONIC);
        TEST_EQ(alarm(100), 0);
        first = alarm(50), second = alarm(0);
    } while (now_us(CLOCK_MONOTONIC) - begun > 400000);
    TEST_EQ(first, 100);
    TEST_EQ(second, 50);
    TEST_EQ(alarm(0), 0);
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, &before);
    alarm(1);
    sigsuspend(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    TEST_EQ(count, 1);
    TEST_EQ(seen.si_code, SI_KERNEL);
    TEST_EQ(seen.si_pid, 0);
}

FN_TEST(alarm_survives_exec_but_not_fork)
{
    alarm(1000);
    TEST_CHILD(TEST_EQ(alarm(0), 0));
    TEST_CHECK(alarm(0) > 900);
    int status = TEST_CHILD_STATUS(signal(SIGALRM, SIG_DFL); struct itimerval t = {{0, 0}, {0, 100000}};
                                   setitimer(ITIMER_REAL, &t, NULL); execlp("sleep", "sleep", "20", NULL));
    TEST_EQ(status, SIGALRM);
}

FN_TEST(setitimer_intervals)
{
    catch(SIGALRM);
    struct itimerval t = {{0, 10000}, {0, 10000}}, got;
    long start = now_us(CLOCK_MONOTONIC);
    TEST_SUCC(setitimer(ITIMER_REAL, &t, NULL));
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    while (count < 10)
        sigsuspend(&none);
    TEST_CHECK(now_us(CLOCK_MONOTONIC) - start >= 100000);
    TEST_SUCC(getitimer(ITIMER_REAL, &got));
    TEST_EQ(got.it_interval.tv_usec, 10000);
    TEST_CHECK(got.it_value.tv_sec == 0 && got.it_value.tv_usec <= 10000);
    memset(&t, 0, sizeof t);
    TEST_SUCC(setitimer(ITIMER_REAL, &t, &got));
    TEST_EQ(got.it_interval.tv_usec, 10000);
    TEST_SUCC(getitimer(ITIMER_REAL, &got));
    TEST_EQ(got.it_value.tv_usec, 0);
    TEST_EQ(got.it_interval.tv_usec, 0);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
}

FN_TEST(a_spinning_program_is_interrupted)
{
    catch(SIGALRM);
    struct itimerval t = {{0, 0}, {0, 30000}};
    TEST_SUCC(setitimer(ITIMER_REAL, &t, NULL));
    volatile unsigned long spins = 0;
    while (!count)
        spins++;
    TEST_EQ(count, 1);
}

FN_TEST(cpu_time_timers)
{
    catch(SIGVTALRM);
    catch(SIGPROF);
    struct itimerval t = {{0, 20000}, {0, 20000}}, got, off = {{0, 0}, {0, 0}};
    TEST_SUCC(setitimer(ITIMER_PROF, &t, NULL));
    volatile unsigned long spins = 0;
    while (count < 3)
        spins++;
    TEST_SUCC(getitimer(ITIMER_PROF, &got));
    TEST_CHECK(got.it_interval.tv_usec > 0 && got.it_interval.tv_usec <= 24000);
    TEST_SUCC(setitimer(ITIMER_PROF, &off, NULL));
    TEST_EQ(seen.si_signo, SIGPROF);
    count = 0;
    TEST_SUCC(setitimer(ITIMER_VIRTUAL, &t, NULL));
    while (count < 2)
        spins++;
    TEST_SUCC(setitimer(ITIMER_VIRTUAL, &off, NULL));
    TEST_EQ(seen.si_signo, SIGVTALRM);
    TEST_CHECK(now_us(CLOCK_PROCESS_CPUTIME_ID) >= 40000); /* 100000 by the ticks that the host counts */
    count = 0;
    /* Sleeping uses none of it. */
    t.it_value.tv_usec = 50000;
    TEST_SUCC(setitimer(ITIMER_PROF, &t, NULL));
    usleep(150000);
    TEST_EQ(count, 0);
    TEST_SUCC(setitimer(ITIMER_PROF, &off, NULL));
}

FN_TEST(itimer_errors)
{
    struct itimerval t = {{0, 0}, {0, 1000000}};
    TEST_ERRNO(setitimer(ITIMER_REAL, &t, NULL), EINVAL);
    t.it_value.tv_usec = -1;
    TEST_ERRNO(setitimer(ITIMER_REAL, &t, NULL), EINVAL);
    t.it_value.tv_usec = 0;
    TEST_ERRNO(setitimer(3, &t, NULL), EINVAL);
    TEST_ERRNO(getitimer(-1, &t), EINVAL);
    TEST_ERRNO(syscall(SYS_getitimer, ITIMER_REAL, 8L), EFAULT);
    TEST_ERRNO(syscall(SYS_setitimer, ITIMER_REAL, 8L, NULL), EFAULT);
}

FN_TEST(posix_timer)
{
    catch(SIGRTMIN + 3);
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 3;
    event.sigev_value.sival_ptr = (void *)0x1234567890;
    timer_t timer;
    TEST_SUCC(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec t = {{0, 0}, {5000, 0}}, got;
    TEST_SUCC(timer_settime(timer, 0, &t, NULL));
    TEST_SUCC(timer_gettime(timer, &got));
    TEST_CHECK(got.it_value.tv_sec > 4000 && got.it_value.tv_sec < 5000 && got.it_value.tv_nsec > 0);
    t.it_value = (struct timespec){0, 20000000};
    TEST_SUCC(timer_settime(timer, 0, &t, NULL));
    while (!count)
        usleep(1000);
    TEST_EQ(count, 1);
    TEST_EQ(seen.si_code, SI_TIMER);
    TEST_EQ(seen.si_value.sival_ptr, 0x1234567890);
    TEST_EQ(seen.si_overrun, 0);
    TEST_SUCC(timer_gettime(timer, &got));
    TEST_EQ(got.it_value.tv_nsec, 0);
    /* Periodic, blocked for a while: one signal and a count. */
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &block, NULL);
    t.it_interval.tv_nsec = t.it_value.tv_nsec = 5000000;
    TEST_SUCC(timer_settime(timer, 0, &t, NULL));
    usleep(100000);
    siginfo_t info;
    TEST_EQ(sigwaitinfo(&block, &info), SIGRTMIN + 3);
    TEST_EQ(info.si_code, SI_TIMER);
    TEST_CHECK(info.si_overrun >= 15);
    TEST_EQ(timer_getoverrun(timer), info.si_overrun);
    memset(&t, 0, sizeof t);
    TEST_SUCC(timer_settime(timer, 0, &t, &got));
    TEST_EQ(got.it_interval.tv_nsec, 5000000);
    struct timespec none = {0, 0};
    while (sigtimedwait(&block, NULL, &none) > 0)
        ;
    TEST_SUCC(timer_delete(timer));
    sigprocmask(SIG_UNBLOCK, &block, NULL);
}

FN_TEST(posix_timer_absolute_and_default_event)
{
    catch(SIGALRM);
    int id;
    TEST_SUCC(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &id));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct itimerspec t = {{0, 0}, now};
    t.it_value.tv_nsec += 20000000;
    if (t.it_value.tv_nsec >= 1000000000)
        t.it_value.tv_sec++, t.it_value.tv_nsec -= 1000000000;
    TEST_SUCC(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &t, NULL));
    while (!count)
        usleep(1000);
    TEST_EQ(seen.si_code, SI_TIMER);
    TEST_EQ(seen.si_value.sival_int, id);
    count = 0;
    t.it_value.tv_sec -= 100; /* long past: at once */
    TEST_SUCC(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &t, NULL));
    while (!count)
        usleep(1000);
    TEST_SUCC(syscall(SYS_timer_delete, id));
    TEST_ERRNO(syscall(SYS_timer_delete, id), EINVAL);
}

FN_TEST(posix_timer_errors)
{
    int id = 0;
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 65;
    TEST_ERRNO(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id), EINVAL);
    event.sigev_signo = SIGALRM;
    event.sigev_notify = 77;
    TEST_ERRNO(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id), EINVAL);
    TEST_ERRNO(syscall(SYS_timer_create, 99, NULL, &id), EINVAL);
    TEST_ERRNO(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, 8L), EFAULT);
    struct itimerspec t = {{0, 0}, {0, 1000000000}};
    TEST_ERRNO(syscall(SYS_timer_settime, 12345, 0, &t, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_timer_settime, 0, 0, NULL, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_timer_gettime, 12345, &t), EINVAL);
    TEST_ERRNO(syscall(SYS_timer_getoverrun, 12345), EINVAL);
}

FN_TEST(timers_of_nobody_and_of_threads)
{
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_NONE;
    timer_t timer;
    TEST_SUCC(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec t = {{0, 0}, {0, 10000000}}, got;
    TEST_SUCC(timer_settime(timer, 0, &t, NULL));
    usleep(30000);
    TEST_SUCC(timer_gettime(timer, &got));
    TEST_EQ(got.it_value.tv_nsec, 0);
    TEST_SUCC(timer_delete(timer));
    catch(SIGUSR1);
    struct {
        union sigval value;
        int signo, notify, tid, pad[11];
    } raw = {{.sival_int = 5}, SIGUSR1, 4 /* SIGEV_THREAD_ID */, syscall(SYS_gettid), {0}};
    int id;
    TEST_SUCC(syscall(SYS_timer_create, CLOCK_MONOTONIC, &raw, &id));
    TEST_SUCC(syscall(SYS_timer_settime, id, 0, &t, NULL));
    while (!count)
        usleep(1000);
    TEST_EQ(seen.si_value.sival_int, 5);
    TEST_SUCC(syscall(SYS_timer_delete, id));
    raw.tid = 1;
    TEST_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, &raw, &id), EINVAL);
}

FN_TEST(cpu_clock_timer)
{
    catch(SIGUSR2);
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR2;
    timer_t timer;
    TEST_SUCC(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
    struct itimerspec t = {{0, 0}, {0, 30000000}};
    long start = now_us(CLOCK_PROCESS_CPUTIME_ID);
    TEST_SUCC(timer_settime(timer, 0, &t, NULL));
    volatile unsigned long spins = 0;
    while (!count)
        spins++;
    TEST_CHECK(now_us(CLOCK_PROCESS_CPUTIME_ID) - start >= 30000);
    TEST_SUCC(timer_delete(timer));
}

FN_TEST(sleeping)
{
    long start = now_us(CLOCK_MONOTONIC);
    struct timespec t = {0, 30000000}, bad = {0, 1000000000}, negative = {-1, 0};
    TEST_SUCC(nanosleep(&t, NULL));
    TEST_CHECK(now_us(CLOCK_MONOTONIC) - start >= 30000);
    TEST_ERRNO(nanosleep(&bad, NULL), EINVAL);
    TEST_ERRNO(nanosleep(&negative, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_nanosleep, 8L, NULL), EFAULT);
    t.tv_nsec = 0;
    TEST_SUCC(nanosleep(&t, NULL));
    TEST_ERRNO(syscall(SYS_clock_nanosleep, 99, 0, &t, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP);
    TEST_ERRNO(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &t, NULL), EOPNOTSUPP);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec -= 10;
    TEST_SUCC(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL)); /* past already */
    clock_gettime(CLOCK_BOOTTIME, &t);
    t.tv_nsec += 20000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    TEST_SUCC(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, TIMER_ABSTIME, &t, NULL));
    TEST_CHECK(now_us(CLOCK_BOOTTIME) >= t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

FN_TEST(limit_of_cpu_time)
{
    /* SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one. */
    int status = TEST_CHILD_STATUS({
        unsigned long limit[2] = {1, 2};
        catch(SIGXCPU);
        syscall(SYS_prlimit64, 0, 0 /* RLIMIT_CPU */, limit, NULL);
        while (now_us(CLOCK_PROCESS_CPUTIME_ID) < 100000) /* the host counts by ticks, which it may miss */
            ;
        TEST_EQ(count, 0);
        while (!count)
            ;
        TEST_EQ(count, 1);
        TEST_EQ(seen.si_code, SI_KERNEL);
        for (;;)
            ;
    });
    TEST_EQ(status, SIGKILL);
    status = TEST_CHILD_STATUS({
        unsigned long limit[2] = {1, 9};
        signal(SIGXCPU, SIG_DFL);
        syscall(SYS_prlimit64, 0, 0, limit, NULL);
        TEST_CHECK(now_us(CLOCK_PROCESS_CPUTIME_ID) < 900000);
        pid_t pid = fork(); /* inherits the limit, not the time used */
        if (pid == 0)
            for (;;)
                ;
        waitpid(pid, &status, 0);
        TEST_EQ(WTERMSIG(status), SIGXCPU);
    });
    TEST_EQ(status, 0);
}
