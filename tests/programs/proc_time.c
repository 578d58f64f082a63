/* Clocks, times and resource usage. */
#include "proc.h"
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/times.h>
#include <time.h>

#define GETTIME(clock, ts) syscall(SYS_clock_gettime, clock, ts)
#define GETRES(clock, ts) syscall(SYS_clock_getres, clock, ts)

static long long now(int clock)
{
    struct timespec ts;
    TEST_SUCC(GETTIME(clock, &ts));
    TEST_CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Until so much time has passed, on the wall and on the CPU. */
static void burn(long long ns)
{
    long long end = now(CLOCK_MONOTONIC) + ns, cpu_end = now(CLOCK_THREAD_CPUTIME_ID) + ns;
    while (now(CLOCK_MONOTONIC) < end || now(CLOCK_THREAD_CPUTIME_ID) < cpu_end)
        for (volatile int i = 0; i < 10000; i++)
            ;
}

FN_TEST(clocks_advance)
{
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                 CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_REALTIME_COARSE,
                                 CLOCK_MONOTONIC_COARSE};
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        long long before = now(clocks[i]);
        burn(20000000);
        long long after = now(clocks[i]);
        if (after - before < 1000000 || after - before > 200000000000LL)
            test_fail(__FILE__, __LINE__, "clock %d went on by %lld ns", clocks[i], after - before);
        struct timespec res = {-1, -1};
        TEST_SUCC(GETRES(clocks[i], &res));
        TEST_CHECK(res.tv_sec == 0 && res.tv_nsec >= 1 && res.tv_nsec <= 10000000);
        TEST_SUCC(GETRES(clocks[i], NULL));
    }
    TEST_CHECK(now(CLOCK_REALTIME_COARSE) <= now(CLOCK_REALTIME));
    TEST_CHECK(now(CLOCK_THREAD_CPUTIME_ID) <= now(CLOCK_PROCESS_CPUTIME_ID));
}

FN_TEST(realtime_agrees)
{
    struct timeval tv;
    struct timezone tz = {1, 1};
    long long before = now(CLOCK_REALTIME);
    TEST_SUCC(syscall(SYS_gettimeofday, &tv, &tz));
    time_t seconds = 0;
    TEST_EQ(syscall(SYS_time, &seconds), seconds);
    long long after = now(CLOCK_REALTIME);
    long long middle = tv.tv_sec * 1000000000LL + tv.tv_usec * 1000LL;
    TEST_CHECK(middle >= before - 1000 && middle <= after);
    TEST_CHECK(seconds >= before / 1000000000 - 1 && seconds <= after / 1000000000);
    TEST_CHECK(tz.tz_minuteswest == 0 && tz.tz_dsttime == 0);
    TEST_SUCC(syscall(SYS_gettimeofday, NULL, NULL));
    TEST_ERRNO(syscall(SYS_gettimeofday, 1, NULL), EFAULT);
    TEST_ERRNO(syscall(SYS_time, 1), EFAULT);
}

FN_TEST(bad_clocks)
{
    struct timespec ts;
    static const int bad[] = {10, 12, 16, 100, 0x7fffffff, -1, -5, -9, -17};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        TEST_ERRNO(GETTIME(bad[i], &ts), EINVAL);
        TEST_ERRNO(GETRES(bad[i], &ts), EINVAL);
    }
    TEST_ERRNO(GETTIME(CLOCK_REALTIME, NULL), EFAULT);
    TEST_ERRNO(GETRES(CLOCK_REALTIME, 1), EFAULT);
    TEST_ERRNO(GETTIME(~99999999 * 8 + 2, &ts), EINVAL);
    clockid_t own;
    TEST_EQ(clock_getcpuclockid(0, &own), 0);
    TEST_SUCC(GETTIME(own, &ts));
    TEST_EQ(clock_getcpuclockid(getpid(), &own), 0);
    TEST_SUCC(GETTIME(own, &ts));
    TEST_ERRNO(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &ts), EINVAL);
    TEST_ERRNO(syscall(SYS_clock_settime, 100, &ts), EINVAL);
    TEST_ERRNO(syscall(SYS_clock_settime, CLOCK_REALTIME, 1), EFAULT);
    ts.tv_nsec = -1;
    TEST_ERRNO(syscall(SYS_clock_settime, CLOCK_REALTIME, &ts), EINVAL);
    if (geteuid() != 0) {
        ts.tv_nsec = 0;
        TEST_ERRNO(syscall(SYS_clock_settime, CLOCK_REALTIME, &ts), EPERM);
        TEST_ERRNO(syscall(SYS_settimeofday, &ts, NULL), EPERM);
    }
}

FN_TEST(adjtimex_reads)
{
    struct timex tx;
    memset(&tx, 0, sizeof tx);
    TEST_RES(adjtimex(&tx), _ret >= 0 && _ret <= 5);
    TEST_CHECK(tx.tick >= 9000 && tx.tick <= 11000 && tx.tolerance == 32768000);
    TEST_CHECK(tx.time.tv_sec >= now(CLOCK_REALTIME) / 1000000000 - 2);
    TEST_ERRNO(syscall(SYS_adjtimex, 1), EFAULT);
}

FN_TEST(cpu_time_is_counted)
{
    struct rusage before, after, thread;
    struct tms tms;
    TEST_SUCC(getrusage(RUSAGE_SELF, &before));
    burn(60000000);
    TEST_SUCC(getrusage(RUSAGE_SELF, &after));
    TEST_SUCC(getrusage(RUSAGE_THREAD, &thread));
    long spent = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec
                 - before.ru_utime.tv_usec + (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000
                 + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    if (spent < 10000)
        test_fail(__FILE__, __LINE__, "only %ld us", spent);
    TEST_CHECK(after.ru_maxrss > 16 && after.ru_minflt > 0);
    TEST_CHECK(thread.ru_maxrss > 16);
    TEST_SUCC(times(&tms));
    TEST_CHECK(tms.tms_utime + tms.tms_stime >= 1);
    TEST_ERRNO(getrusage(5, &after), EINVAL);
    TEST_ERRNO(syscall(SYS_getrusage, RUSAGE_SELF, 1), EFAULT);
    TEST_ERRNO(syscall(SYS_times, 1), EFAULT);
    long a = syscall(SYS_times, NULL);
    burn(30000000);
    long b = syscall(SYS_times, NULL);
    TEST_CHECK(b - a >= 2 && b - a < 20000);
}

FN_TEST(time_of_children)
{
    struct rusage before, after;
    struct tms tms;
    TEST_SUCC(getrusage(RUSAGE_CHILDREN, &before));
    pid_t child = TEST_SUCC(fork());
    if (!child) {
        burn(60000000);
        _exit(0);
    }
    TEST_SUCC(getrusage(RUSAGE_CHILDREN, &after));
    TEST_CHECK(after.ru_utime.tv_sec == before.ru_utime.tv_sec && after.ru_utime.tv_usec == before.ru_utime.tv_usec);
    TEST_REAP(child);
    TEST_SUCC(getrusage(RUSAGE_CHILDREN, &after));
    long spent = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec
                 - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    if (spent < 10000)
        test_fail(__FILE__, __LINE__, "only %ld us", spent);
    TEST_SUCC(times(&tms));
    TEST_CHECK(tms.tms_cutime + tms.tms_cstime >= 1);
}

FN_TEST(sysinfo_agrees_with_proc)
{
    struct sysinfo info;
    TEST_SUCC(sysinfo(&info));
    TEST_CHECK(proc_read("/proc/meminfo") > 0);
    TEST_EQ(info.totalram * info.mem_unit / 1024, strtol(proc_field("MemTotal"), NULL, 10));
    TEST_CHECK(info.freeram <= info.totalram && info.procs > 0);
    TEST_CHECK(proc_read("/proc/uptime") > 0);
    TEST_CHECK(labs(atol(proc_text) - info.uptime) <= 2);
    TEST_CHECK(labs((long)(now(CLOCK_BOOTTIME) / 1000000000) - info.uptime) <= 2);
    TEST_CHECK(proc_read("/proc/loadavg") > 0);
    TEST_CHECK(labs((long)(atof(proc_text) * 65536) - (long)info.loads[0]) < 10000);
    TEST_CHECK(proc_read("/proc/stat") > 0);
    char *btime = strstr(proc_text, "\nbtime ");
    TEST_CHECK(btime && labs(atol(btime + 7) - (long)((now(CLOCK_REALTIME) - now(CLOCK_BOOTTIME)) / 1000000000)) <= 2);
    TEST_ERRNO(syscall(SYS_sysinfo, 1), EFAULT);
}
