/* Signal actions, masks, pending sets, default actions, sending and its errors. */
#include "test.h"
#include <sys/time.h>
#include <time.h>

static volatile sig_atomic_t count, last, order[64], orders;
static volatile siginfo_t seen;

static void on_signal(int signo)
{
    count++;
    last = signo;
    if (orders < 64)
        order[orders++] = signo;
}

static void on_info(int signo, siginfo_t *info, void *context)
{
    (void)context;
    on_signal(signo);
    memcpy((void *)(uintptr_t)&seen, info, sizeof *info);
}

static void catch_with(int signo, void *handler, int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = flags;
    if (flags & SA_SIGINFO)
        action.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
    else
        action.sa_handler = (void (*)(int))handler;
    TEST_SUCC(sigaction(signo, &action, NULL));
    count = last = orders = 0;
}

static void set_mask(int how, int signo)
{
    sigset_t set;
    sigemptyset(&set);
    if (signo)
        sigaddset(&set, signo);
    TEST_SUCC(sigprocmask(how, &set, NULL));
}

FN_TEST(raise_runs_the_handler)
{
    catch_with(SIGUSR1, on_signal, 0);
    TEST_SUCC(raise(SIGUSR1));
    TEST_EQ(count, 1);
    TEST_EQ(last, SIGUSR1);
}

FN_TEST(siginfo_of_kill)
{
    catch_with(SIGUSR1, on_info, SA_SIGINFO);
    TEST_SUCC(kill(getpid(), SIGUSR1));
    TEST_EQ(seen.si_signo, SIGUSR1);
    TEST_EQ(seen.si_code, SI_USER);
    TEST_EQ(seen.si_errno, 0);
    TEST_EQ(seen.si_pid, getpid());
    TEST_EQ(seen.si_uid, getuid());
}

FN_TEST(siginfo_of_tgkill)
{
    catch_with(SIGUSR1, on_info, SA_SIGINFO);
    TEST_SUCC(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
    TEST_EQ(seen.si_code, SI_TKILL);
    TEST_EQ(seen.si_pid, getpid());
    TEST_SUCC(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    TEST_EQ(count, 2);
}

FN_TEST(siginfo_of_sigqueue)
{
    catch_with(SIGUSR1, on_info, SA_SIGINFO);
    union sigval value = {.sival_ptr = (void *)0x123456789abcdef0};
    TEST_SUCC(sigqueue(getpid(), SIGUSR1, value));
    TEST_EQ(seen.si_code, SI_QUEUE);
    TEST_EQ(seen.si_value.sival_ptr, value.sival_ptr);
    TEST_EQ(seen.si_pid, getpid());
}

FN_TEST(raw_sigqueueinfo)
{
    catch_with(SIGRTMIN + 2, on_info, SA_SIGINFO);
    unsigned char raw[128];
    siginfo_t *info = (siginfo_t *)raw;
    memset(raw, 0, sizeof raw);
    info->si_signo = 3; /* replaced by the argument */
    info->si_code = -77;
    info->si_pid = 4242;
    info->si_value.sival_int = 99;
    TEST_SUCC(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 2, raw));
    TEST_EQ(seen.si_signo, SIGRTMIN + 2);
    TEST_EQ(seen.si_code, -77);
    TEST_EQ(seen.si_pid, 4242);
    TEST_EQ(seen.si_value.sival_int, 99);
    TEST_SUCC(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGRTMIN + 2, raw));
    TEST_EQ(count, 2);
    /* A program may not pretend to be the kernel towards others, but towards itself. */
    info->si_code = SI_USER;
    TEST_SUCC(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 2, raw));
    TEST_EQ(seen.si_code, SI_USER);
    TEST_ERRNO(syscall(SYS_rt_sigqueueinfo, getppid(), SIGRTMIN + 2, raw), EPERM);
    info->si_code = SI_TKILL;
    TEST_ERRNO(syscall(SYS_rt_tgsigqueueinfo, getppid(), getppid(), SIGRTMIN + 2, raw), EPERM);
    TEST_ERRNO(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 2, 8L), EFAULT);
}

FN_TEST(blocked_signals_wait_and_coalesce)
{
    catch_with(SIGUSR1, on_signal, 0);
    set_mask(SIG_BLOCK, SIGUSR1);
    for (int i = 0; i < 5; i++)
        TEST_SUCC(raise(SIGUSR1));
    TEST_EQ(count, 0);
    sigset_t pending;
    TEST_SUCC(sigpending(&pending));
    TEST_CHECK(sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2));
    set_mask(SIG_UNBLOCK, SIGUSR1);
    /* raise() sends to the thread, kill() to the process: two queues, here only one was used. */
    TEST_EQ(count, 1);
    TEST_SUCC(sigpending(&pending));
    TEST_CHECK(!sigismember(&pending, SIGUSR1));
    set_mask(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR1);
    set_mask(SIG_UNBLOCK, SIGUSR1);
    TEST_EQ(count, 3);
}

FN_TEST(realtime_signals_queue_in_order)
{
    static int values[16];
    catch_with(SIGRTMIN, on_info, SA_SIGINFO);
    catch_with(SIGRTMIN + 1, on_info, SA_SIGINFO);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    TEST_SUCC(sigprocmask(SIG_BLOCK, &set, &old));
    for (int i = 0; i < 4; i++) {
        union sigval value = {.sival_int = i};
        TEST_SUCC(sigqueue(getpid(), SIGRTMIN + 1, value));
        TEST_SUCC(sigqueue(getpid(), SIGRTMIN, value));
    }
    int n = 0;
    siginfo_t info;
    struct timespec none = {0, 0};
    while (sigtimedwait(&set, &info, &none) > 0)
        values[n++] = (info.si_signo - SIGRTMIN) * 10 + info.si_value.sival_int;
    TEST_EQ(errno, EAGAIN);
    TEST_EQ(n, 8);
    static const int expected[] = {0, 1, 2, 3, 10, 11, 12, 13};
    TEST_CHECK(memcmp(values, expected, sizeof expected) == 0);
    TEST_SUCC(sigprocmask(SIG_SETMASK, &old, NULL));
    TEST_EQ(count, 0);
}

FN_TEST(lowest_is_taken_first_so_runs_last)
{
    static const int all[] = {SIGUSR2, SIGHUP, SIGTERM, SIGUSR1, SIGINT};
    sigset_t set, old;
    sigemptyset(&set);
    for (int i = 0; i < 5; i++) {
        catch_with(all[i], on_signal, 0);
        sigaddset(&set, all[i]);
    }
    TEST_SUCC(sigprocmask(SIG_BLOCK, &set, &old));
    for (int i = 0; i < 5; i++)
        TEST_SUCC(kill(getpid(), all[i]));
    orders = 0;
    TEST_SUCC(sigprocmask(SIG_SETMASK, &old, NULL));
    /* Each frame is put on top of the one before. */
    static const int expected[] = {SIGTERM, SIGUSR2, SIGUSR1, SIGINT, SIGHUP};
    TEST_EQ(orders, 5);
    for (int i = 0; i < 5; i++) {
        TEST_EQ(order[i], expected[i]);
        signal(all[i], SIG_DFL);
    }
}

static volatile int depth, deepest;

static void nest(int signo)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (count++ < 4)
        raise(signo);
    depth--;
}

FN_TEST(nodefer_nests_and_default_does_not)
{
    catch_with(SIGUSR1, nest, 0);
    depth = deepest = 0;
    raise(SIGUSR1);
    TEST_EQ(deepest, 1);
    TEST_EQ(count, 5);
    catch_with(SIGUSR1, nest, SA_NODEFER);
    depth = deepest = 0;
    raise(SIGUSR1);
    TEST_EQ(deepest, 5);
}

static sigset_t mask_inside;

static void note_mask(int signo)
{
    on_signal(signo);
    sigprocmask(SIG_SETMASK, NULL, &mask_inside);
}

FN_TEST(mask_during_and_after_the_handler)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_mask;
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaddset(&action.sa_mask, SIGKILL);
    TEST_SUCC(sigaction(SIGUSR1, &action, NULL));
    raise(SIGUSR1);
    TEST_CHECK(sigismember(&mask_inside, SIGUSR1) && sigismember(&mask_inside, SIGUSR2));
    TEST_CHECK(!sigismember(&mask_inside, SIGKILL) && !sigismember(&mask_inside, SIGTERM));
    sigset_t after;
    sigprocmask(SIG_SETMASK, NULL, &after);
    TEST_CHECK(!sigismember(&after, SIGUSR1) && !sigismember(&after, SIGUSR2));
}

FN_TEST(resethand)
{
    catch_with(SIGUSR1, on_signal, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction now;
    TEST_SUCC(sigaction(SIGUSR1, NULL, &now));
    TEST_CHECK(now.sa_handler == SIG_DFL);
    TEST_EQ(count, 1);
    int status = TEST_CHILD_STATUS(raise(SIGUSR1));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

FN_TEST(sigaction_reads_back)
{
    struct kernel_action {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } set = {(void *)0x1000, ~0UL & ~(unsigned long)SA_RESETHAND, (void *)0x2000, ~0UL}, got;
    TEST_SUCC(syscall(SYS_rt_sigaction, SIGUSR2, &set, NULL, 8));
    TEST_SUCC(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &got, 8));
    TEST_EQ(got.handler, set.handler);
    TEST_EQ(got.flags, 0x5c000807);
    TEST_EQ(got.restorer, set.restorer);
    TEST_EQ(got.mask, ~0UL & ~(1UL << (SIGKILL - 1)) & ~(1UL << (SIGSTOP - 1)));
    signal(SIGUSR2, SIG_DFL);
}

FN_TEST(sigaction_errors)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    char raw[32] = {0};
    TEST_ERRNO(syscall(SYS_rt_sigaction, 0, raw, NULL, 8), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigaction, 65, raw, NULL, 8), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigaction, SIGKILL, raw, NULL, 8), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigaction, SIGSTOP, raw, NULL, 8), EINVAL);
    TEST_SUCC(syscall(SYS_rt_sigaction, SIGKILL, NULL, raw, 8));
    TEST_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, raw, NULL, 4), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, 16L, NULL, 8), EFAULT);
    TEST_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, 16L, 8), EFAULT);
}

FN_TEST(sigprocmask_errors)
{
    unsigned long set = 0;
    TEST_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigprocmask, 3, &set, NULL, 8), EINVAL);
    TEST_SUCC(syscall(SYS_rt_sigprocmask, 3, NULL, &set, 8));
    TEST_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8L, NULL, 8), EFAULT);
    TEST_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, 8L, 8), EFAULT);
    set = ~0UL;
    TEST_SUCC(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 8));
    TEST_SUCC(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8));
    TEST_EQ(set, ~0UL & ~(1UL << 8) & ~(1UL << 18));
    set = 0;
    TEST_SUCC(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8));
    unsigned short two = 0xffff;
    TEST_SUCC(syscall(SYS_rt_sigpending, &two, 2));
    TEST_EQ(two, 0);
    TEST_ERRNO(syscall(SYS_rt_sigpending, &set, 16), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigpending, 8L, 8), EFAULT);
}

FN_TEST(kill_errors)
{
    TEST_ERRNO(kill(getpid(), 65), EINVAL);
    TEST_ERRNO(kill(getpid(), -1), EINVAL);
    TEST_ERRNO(kill(999999, 0), ESRCH);
    TEST_ERRNO(kill(-999999, SIGTERM), ESRCH);
    TEST_ERRNO(kill(-2147483647 - 1, 0), ESRCH);
    TEST_SUCC(kill(getpid(), 0));
    TEST_SUCC(kill(0, 0));
    TEST_ERRNO(syscall(SYS_tkill, 0, SIGTERM), EINVAL);
    TEST_ERRNO(syscall(SYS_tkill, 999999, SIGTERM), ESRCH);
    TEST_ERRNO(syscall(SYS_tgkill, 0, getpid(), SIGTERM), EINVAL);
    TEST_ERRNO(syscall(SYS_tgkill, getppid(), getpid(), SIGTERM), ESRCH);
    TEST_SUCC(syscall(SYS_tgkill, getpid(), getpid(), 0));
}

FN_TEST(zombies_can_be_signalled)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        _exit(3);
    siginfo_t info;
    TEST_SUCC(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    TEST_SUCC(kill(pid, 0));
    TEST_SUCC(kill(pid, SIGKILL));
    int status = test_wait(pid);
    TEST_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    TEST_ERRNO(kill(pid, 0), ESRCH);
}

FN_TEST(default_actions)
{
    for (int signo = 1; signo <= 64; signo++) {
        if (signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU || signo == 32 || signo == 33)
            continue;
        int status = TEST_CHILD_STATUS(signal(signo, SIG_DFL); sigset_t none; sigemptyset(&none);
                                       sigprocmask(SIG_SETMASK, &none, NULL); kill(getpid(), signo));
        if (signo == SIGCHLD || signo == SIGCONT || signo == SIGURG || signo == SIGWINCH)
            TEST_EQ(status, 0);
        else if (!WIFSIGNALED(status) || WTERMSIG(status) != signo)
            test_fail(__FILE__, __LINE__, "signal %d: wait status 0x%x", signo, status);
    }
}

FN_TEST(ignored_signals_vanish)
{
    catch_with(SIGUSR1, on_signal, 0);
    set_mask(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN); /* discards the pending one */
    catch_with(SIGUSR1, on_signal, 0);
    set_mask(SIG_UNBLOCK, SIGUSR1);
    TEST_EQ(count, 0);
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    /* Blocked and ignored stays pending. */
    set_mask(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    sigset_t pending;
    sigpending(&pending);
    TEST_CHECK(sigismember(&pending, SIGUSR1));
    set_mask(SIG_UNBLOCK, SIGUSR1);
    catch_with(SIGCHLD, on_signal, 0);
    signal(SIGCHLD, SIG_DFL);
}

FN_TEST(kill_to_a_process_group)
{
    int ready[2];
    char c;
    TEST_SUCC(pipe(ready));
    pid_t leader = 0, children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = TEST_SUCC(fork());
        if (children[i] == 0) {
            setpgid(0, leader);
            write(ready[1], "x", 1);
            for (;;)
                pause();
        }
        if (!leader)
            leader = children[i];
        setpgid(children[i], leader);
    }
    for (int i = 0; i < 3; i++)
        read(ready[0], &c, 1);
    TEST_SUCC(kill(-leader, SIGTERM));
    for (int i = 0; i < 3; i++)
        TEST_EQ(test_wait(children[i]), SIGTERM);
    TEST_ERRNO(kill(-leader, 0), ESRCH);
    close(ready[0]);
    close(ready[1]);
}

FN_TEST(handlers_and_fork_and_exec)
{
    catch_with(SIGUSR1, on_signal, 0);
    signal(SIGUSR2, SIG_IGN);
    set_mask(SIG_BLOCK, SIGTERM);
    raise(SIGTERM);
    TEST_CHILD({
        sigset_t pending, mask;
        sigpending(&pending);
        TEST_CHECK(!sigismember(&pending, SIGTERM)); /* pending ones are not inherited */
        sigprocmask(SIG_SETMASK, NULL, &mask);
        TEST_CHECK(sigismember(&mask, SIGTERM));
        raise(SIGUSR1);
        TEST_EQ(count, 1);
    });
    int status = TEST_CHILD_STATUS(execl("/bin/sh", "sh", "-c",
        "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status >/dev/null; kill -USR2 $$; kill -USR1 $$; exit 7", NULL));
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    signal(SIGTERM, SIG_IGN);
    set_mask(SIG_UNBLOCK, SIGTERM);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

FN_TEST(sigsuspend_takes_the_mask_and_gives_it_back)
{
    catch_with(SIGUSR1, on_signal, 0);
    catch_with(SIGUSR2, on_signal, 0);
    set_mask(SIG_BLOCK, SIGUSR1);
    set_mask(SIG_BLOCK, SIGUSR2);
    raise(SIGUSR1);
    sigset_t wait_mask, mask;
    sigprocmask(SIG_SETMASK, NULL, &wait_mask);
    sigdelset(&wait_mask, SIGUSR1);
    TEST_ERRNO(sigsuspend(&wait_mask), EINTR);
    TEST_EQ(count, 1);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    TEST_CHECK(sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGUSR2));
    /* SIGUSR2 stays blocked inside, whoever sends it; SIGUSR1 from a child ends the wait. */
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0) {
        kill(getppid(), SIGUSR2);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    TEST_ERRNO(sigsuspend(&wait_mask), EINTR);
    TEST_EQ(count, 2);
    TEST_REAP(pid);
    set_mask(SIG_UNBLOCK, SIGUSR2);
    TEST_EQ(count, 3);
    set_mask(SIG_UNBLOCK, SIGUSR1);
    TEST_ERRNO(syscall(SYS_rt_sigsuspend, &mask, 4), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigsuspend, 8L, 8), EFAULT);
}

FN_TEST(sigwaitinfo_from_a_child)
{
    set_mask(SIG_BLOCK, SIGCHLD);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        _exit(42);
    siginfo_t info;
    TEST_EQ(sigwaitinfo(&set, &info), SIGCHLD);
    TEST_EQ(info.si_code, CLD_EXITED);
    TEST_EQ(info.si_pid, pid);
    TEST_EQ(info.si_status, 42);
    TEST_EQ(info.si_uid, getuid());
    test_wait(pid);
    pid = TEST_SUCC(fork());
    if (pid == 0)
        for (;;)
            pause();
    TEST_SUCC(kill(pid, SIGKILL));
    TEST_EQ(sigwaitinfo(&set, &info), SIGCHLD);
    TEST_EQ(info.si_code, CLD_KILLED);
    TEST_EQ(info.si_status, SIGKILL);
    test_wait(pid);
    set_mask(SIG_UNBLOCK, SIGCHLD);
}

FN_TEST(sigtimedwait_times_out_and_is_interrupted)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    set_mask(SIG_BLOCK, SIGUSR1);
    struct timespec t = {0, 20000000}, bad = {0, 1000000000};
    TEST_ERRNO(sigtimedwait(&set, NULL, &t), EAGAIN);
    TEST_ERRNO(sigtimedwait(&set, NULL, &bad), EINVAL);
    catch_with(SIGALRM, on_signal, SA_RESTART);
    /* musl would wait on */
    TEST_SIGNALLED(SIGALRM, TEST_ERRNO(syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8), EINTR));
    TEST_EQ(count, 1);
    set_mask(SIG_UNBLOCK, SIGUSR1);
    TEST_ERRNO(syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 4), EINVAL);
    TEST_ERRNO(syscall(SYS_rt_sigtimedwait, 8L, NULL, NULL, 8), EFAULT);
}

FN_TEST(queue_limit)
{
    TEST_CHILD({
        struct rlimit {
            unsigned long soft, hard;
        } limit = {10, 10};
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_SETMASK, &set, NULL);
        setresuid(54321, 54321, 54321);
        TEST_SUCC(syscall(SYS_prlimit64, 0, 11 /* RLIMIT_SIGPENDING */, &limit, NULL));
        union sigval value = {.sival_int = 1};
        for (int i = 0; i < 10; i++)
            TEST_SUCC(sigqueue(getpid(), SIGRTMIN, value));
        TEST_ERRNO(sigqueue(getpid(), SIGRTMIN, value), EAGAIN);
        TEST_SUCC(kill(getpid(), SIGRTMIN + 1));
        TEST_SUCC(kill(getpid(), SIGUSR1));
    });
}

FN_TEST(permission)
{
    if (getuid() != 0)
        return;
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        for (;;)
            pause();
    TEST_CHILD({
        TEST_SUCC(setresuid(1000, 1000, 1000));
        TEST_ERRNO(kill(pid, SIGTERM), EPERM);
        TEST_ERRNO(kill(pid, 0), EPERM);
        TEST_SUCC(kill(pid, SIGCONT)); /* the same session */
        TEST_ERRNO(kill(pid, 65), EINVAL);
        TEST_ERRNO(syscall(SYS_tgkill, pid, pid, SIGTERM), EPERM);
    });
    TEST_SUCC(kill(pid, SIGTERM));
    TEST_EQ(test_wait(pid), SIGTERM);
}

FN_TEST(sigpipe)
{
    int p[2];
    TEST_SUCC(pipe(p));
    close(p[0]);
    catch_with(SIGPIPE, on_info, SA_SIGINFO);
    TEST_ERRNO(write(p[1], "x", 1), EPIPE);
    TEST_EQ(count, 1);
    TEST_EQ(seen.si_code, SI_USER);
    TEST_EQ(seen.si_pid, getpid());
    signal(SIGPIPE, SIG_IGN);
    TEST_ERRNO(write(p[1], "x", 1), EPIPE);
    int status = TEST_CHILD_STATUS(signal(SIGPIPE, SIG_DFL); write(p[1], "x", 1));
    TEST_EQ(status, SIGPIPE);
    signal(SIGPIPE, SIG_DFL);
    close(p[1]);
}

FN_TEST(sigabrt_of_abort)
{
    int status = TEST_CHILD_STATUS(abort());
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = TEST_CHILD_STATUS(signal(SIGABRT, SIG_IGN); abort());
    TEST_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static int pidfd_open_(pid_t pid) { return syscall(434, pid, 0); }

FN_TEST(pidfd_send_signal)
{
    pid_t pid = TEST_SUCC(fork());
    if (pid == 0)
        for (;;)
            pause();
    int fd = TEST_SUCC(pidfd_open_(pid));
    TEST_ERRNO(syscall(424, fd, SIGTERM, NULL, 0x100), EINVAL);
    TEST_ERRNO(syscall(424, 0, SIGTERM, NULL, 0), EBADF);
    TEST_SUCC(syscall(424, fd, 0, NULL, 0));
    TEST_SUCC(syscall(424, fd, SIGTERM, NULL, 0));
    TEST_EQ(test_wait(pid), SIGTERM);
    TEST_ERRNO(syscall(424, fd, 0, NULL, 0), ESRCH);
    close(fd);
}
