/* prctl, arch_prctl, scheduling parameters, names, membarrier, kcmp, random bytes. */
#include "proc.h"
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define ARCH_SET_GS 0x1001
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define KCMP_FILE 0
#define KCMP_VM 1
#define MEMBARRIER_CMD_QUERY 0
#define MEMBARRIER_CMD_PRIVATE_EXPEDITED 8
#define MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED 16

FN_TEST(attributes)
{
    int value = -1;
    TEST_SUCC(prctl(PR_SET_PDEATHSIG, SIGTERM));
    TEST_SUCC(prctl(PR_GET_PDEATHSIG, &value));
    TEST_EQ(value, SIGTERM);
    TEST_ERRNO(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    TEST_SUCC(prctl(PR_SET_PDEATHSIG, 0));
    TEST_EQ(prctl(PR_GET_DUMPABLE), 1);
    TEST_SUCC(prctl(PR_SET_DUMPABLE, 0));
    TEST_EQ(prctl(PR_GET_DUMPABLE), 0);
    TEST_ERRNO(prctl(PR_SET_DUMPABLE, 2), EINVAL);
    TEST_SUCC(prctl(PR_SET_DUMPABLE, 1));
    TEST_SUCC(prctl(PR_SET_CHILD_SUBREAPER, 1));
    TEST_SUCC(prctl(PR_GET_CHILD_SUBREAPER, &value));
    TEST_EQ(value, 1);
    TEST_SUCC(prctl(PR_SET_CHILD_SUBREAPER, 0));
    TEST_EQ(prctl(PR_GET_TIMERSLACK), 50000);
    TEST_SUCC(prctl(PR_SET_TIMERSLACK, 1234));
    TEST_EQ(prctl(PR_GET_TIMERSLACK), 1234);
    TEST_SUCC(prctl(PR_SET_TIMERSLACK, 0));
    TEST_EQ(prctl(PR_GET_TIMERSLACK), 50000);
    TEST_EQ(prctl(PR_GET_TIMING), 0);
    TEST_EQ(prctl(PR_GET_SECCOMP), 0);
    TEST_EQ(prctl(PR_GET_SECUREBITS), 0);
    TEST_SUCC(prctl(PR_GET_TSC, &value));
    TEST_EQ(value, PR_TSC_ENABLE);
    TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
    TEST_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);
    TEST_SUCC(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    TEST_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
    TEST_SUCC(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
}

/* What becomes of memory errors is a matter of each thread; forks and execve keep it. */
FN_TEST(mce_kill_is_inherited)
{
    TEST_CHILD({
        TEST_SUCC(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
        TEST_CHILD({
            TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
            TEST_SUCC(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0));
            TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_LATE);
        });
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
        TEST_SUCC(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0));
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
        /* The error comes when half of it is done. */
        TEST_ERRNO(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0), EINVAL);
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
        TEST_SUCC(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_DEFAULT, 0, 0));
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_DEFAULT);
        TEST_ERRNO(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, -1, 0, 0), EINVAL);
        TEST_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_LATE);
        TEST_ERRNO(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0), EINVAL);
        TEST_ERRNO(prctl(PR_MCE_KILL, 2, 0, 0, 0), EINVAL);
        TEST_ERRNO(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 1, 0), EINVAL);
        TEST_ERRNO(prctl(PR_MCE_KILL_GET, 1, 0, 0, 0), EINVAL);
    });
}

static unsigned flags_in_stat(void)
{
    unsigned flags = 0;
    TEST_CHECK(proc_read("/proc/self/stat") > 0);
    TEST_EQ(sscanf(strrchr(proc_text, ')'), ") %*c %*d %*d %*d %*d %*d %u", &flags), 1);
    return flags & 0x08000080;
}

FN_TEST(mce_kill_shows_in_stat)
{
    TEST_CHILD({
        TEST_EQ(flags_in_stat(), 0);
        TEST_SUCC(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
        TEST_EQ(flags_in_stat(), 0x08000080);
    });
}

FN_TEST(no_new_privs_is_inherited)
{
    TEST_CHILD({
        TEST_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
        TEST_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
        TEST_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
        TEST_SUCC(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        TEST_CHILD({
            TEST_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
            TEST_CHECK(proc_read("/proc/self/status") > 0);
            TEST_EQ(proc_number("NoNewPrivs"), 1);
        });
    });
}

FN_TEST(errors)
{
    TEST_ERRNO(prctl(0), EINVAL);
    TEST_ERRNO(prctl(9999), EINVAL);
    TEST_ERRNO(prctl(PR_SET_NAME, 0), EFAULT);
    TEST_ERRNO(prctl(PR_GET_NAME, 0), EFAULT);
    TEST_ERRNO(prctl(PR_GET_PDEATHSIG, 0), EFAULT);
    TEST_ERRNO(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
    TEST_ERRNO(prctl(PR_GET_FPEMU, 0), EINVAL);
    TEST_ERRNO(prctl(PR_GET_ENDIAN, 0), EINVAL);
    TEST_ERRNO(prctl(PR_SET_MM, 1, 0, 0, 1), EINVAL);
    TEST_ERRNO(prctl(PR_CAP_AMBIENT, 9, 0, 0, 0), EINVAL);
    TEST_ERRNO(prctl(0x53564d41, 1, 0, 0, 0), EINVAL);
}

FN_TEST(segment_bases)
{
    unsigned long fs = 0, gs = 1, own;
    TEST_SUCC(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    __asm__("mov %%fs:0, %0" : "=r"(own)); /* the thread's control block begins with its own address */
    TEST_EQ(fs, own);
    TEST_SUCC(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    TEST_EQ(gs, 0);
    static unsigned long target = 0x1234567;
    TEST_SUCC(syscall(SYS_arch_prctl, ARCH_SET_GS, &target));
    __asm__("mov %%gs:0, %0" : "=r"(own));
    TEST_EQ(own, 0x1234567);
    TEST_SUCC(syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
    TEST_ERRNO(syscall(SYS_arch_prctl, ARCH_SET_GS, -1L), EPERM);
    TEST_ERRNO(syscall(SYS_arch_prctl, ARCH_GET_FS, 1), EFAULT);
    TEST_ERRNO(syscall(SYS_arch_prctl, 0x3001, &own), EINVAL);
    TEST_ERRNO(syscall(SYS_arch_prctl, 0x1234, 0), EINVAL);
}

FN_TEST(one_consistent_set_of_cpus)
{
    unsigned long mask[16] = {0};
    TEST_RES(syscall(SYS_sched_getaffinity, 0, sizeof mask, mask), _ret >= 8 && _ret % 8 == 0);
    int cpus = __builtin_popcountl(mask[0]);
    TEST_EQ(sysconf(_SC_NPROCESSORS_ONLN) >= cpus, 1);
    unsigned cpu = 99, node = 99;
    TEST_SUCC(syscall(SYS_getcpu, &cpu, &node, NULL));
    TEST_CHECK(mask[0] >> cpu & 1);
    TEST_EQ(node, 0);
    TEST_SUCC(syscall(SYS_getcpu, NULL, NULL, NULL));
    TEST_SUCC(syscall(SYS_sched_setaffinity, 0, 8, mask));
    unsigned long none = 0;
    TEST_ERRNO(syscall(SYS_sched_setaffinity, 0, 8, &none), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_setaffinity, 0, 8, 1), EFAULT);
    TEST_ERRNO(syscall(SYS_sched_getaffinity, 0, 7, mask), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_getaffinity, 0, 0, mask), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_getaffinity, 99999999, 8, mask), ESRCH);
    TEST_ERRNO(syscall(SYS_sched_getaffinity, 0, 8, 1), EFAULT);
    TEST_CHECK(proc_read("/proc/cpuinfo") > 0);
    int processors = 0;
    for (char *p = proc_text; (p = strstr(p, "processor\t:")); p++)
        processors++;
    TEST_EQ(processors, sysconf(_SC_NPROCESSORS_CONF));
}

/* musl refuses these on purpose: ask the kernel. */
FN_TEST(scheduling_parameters)
{
    struct sched_param param = {7};
    TEST_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
    TEST_SUCC(syscall(SYS_sched_getparam, 0, &param));
    TEST_EQ(param.sched_priority, 0);
    TEST_EQ(sched_get_priority_max(SCHED_FIFO), 99);
    TEST_EQ(sched_get_priority_min(SCHED_RR), 1);
    TEST_EQ(sched_get_priority_max(SCHED_OTHER), 0);
    TEST_ERRNO(sched_get_priority_max(99), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_getscheduler, -1), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_getscheduler, 99999999), ESRCH);
    TEST_ERRNO(syscall(SYS_sched_getparam, 0, NULL), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_setscheduler, 0, -1, &param), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_setscheduler, 0, 99, &param), EINVAL);
    TEST_ERRNO(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL), EINVAL);
    param.sched_priority = 1;
    TEST_ERRNO(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &param), EINVAL);
    param.sched_priority = 0;
    TEST_ERRNO(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &param), EINVAL);
    TEST_CHILD({
        TEST_SUCC(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &param));
        TEST_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_BATCH);
        TEST_CHILD(TEST_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_BATCH));
        TEST_SUCC(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER | 0x40000000, &param));
        TEST_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER | 0x40000000);
        TEST_CHILD(TEST_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER));
    });
    TEST_SUCC(sched_yield());
    struct timespec ts;
    TEST_SUCC(syscall(SYS_sched_rr_get_interval, 0, &ts));
    unsigned attr[32] = {0};
    TEST_SUCC(syscall(SYS_sched_getattr, 0, attr, sizeof attr, 0));
    TEST_CHECK(attr[0] >= 48 && attr[1] == SCHED_OTHER && attr[4] == 0);
    TEST_ERRNO(syscall(SYS_sched_getattr, 0, attr, 40, 0), EINVAL);
}

FN_TEST(nice_values)
{
    TEST_CHILD({
        int before = getpriority(PRIO_PROCESS, 0);
        TEST_SUCC(setpriority(PRIO_PROCESS, 0, before + 3));
        TEST_EQ(getpriority(PRIO_PROCESS, 0), before + 3);
        TEST_EQ(getpriority(PRIO_PROCESS, getpid()), before + 3);
        TEST_CHECK(proc_read("/proc/self/stat") > 0);
        char *p = strrchr(proc_text, ')');
        long nice = 0;
        TEST_EQ(sscanf(p, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld", &nice), 1);
        TEST_EQ(nice, before + 3);
        TEST_SUCC(setpriority(PRIO_PROCESS, 0, 100));
        TEST_EQ(getpriority(PRIO_PROCESS, 0), 19);
        TEST_CHILD(TEST_EQ(getpriority(PRIO_PROCESS, 0), 19));
        TEST_ERRNO(getpriority(3, 0), EINVAL);
        TEST_ERRNO(getpriority(PRIO_PROCESS, 99999999), ESRCH);
        TEST_ERRNO(setpriority(PRIO_PGRP, 99999999, 0), ESRCH);
        if (geteuid() != 0)
            TEST_ERRNO(setpriority(PRIO_PROCESS, 0, 0), EACCES);
    });
    TEST_RES(syscall(SYS_ioprio_get, 1, 0), _ret == 0);
    TEST_SUCC(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    TEST_RES(syscall(SYS_ioprio_get, 1, 0), _ret == 3 << 13);
    TEST_ERRNO(syscall(SYS_ioprio_get, 4, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_ioprio_set, 1, 0, 5 << 13), EINVAL);
}

FN_TEST(names)
{
    struct utsname names;
    char line[200];
    TEST_SUCC(uname(&names));
    TEST_STR(names.sysname, "Linux");
    TEST_STR(names.machine, "x86_64");
    TEST_CHECK(proc_read("/proc/sys/kernel/hostname") > 0);
    snprintf(line, sizeof line, "%s\n", names.nodename);
    TEST_STR(proc_text, line);
    TEST_CHECK(proc_read("/proc/sys/kernel/osrelease") > 0);
    snprintf(line, sizeof line, "%s\n", names.release);
    TEST_STR(proc_text, line);
    TEST_CHECK(proc_read("/proc/sys/kernel/version") > 0);
    snprintf(line, sizeof line, "%s\n", names.version);
    TEST_STR(proc_text, line);
    TEST_CHECK(proc_read("/proc/version") > 0);
    snprintf(line, sizeof line, "Linux version %s ", names.release);
    TEST_CHECK(strncmp(proc_text, line, strlen(line)) == 0);
    TEST_ERRNO(syscall(SYS_uname, 1), EFAULT);
    TEST_EQ(syscall(SYS_personality, 0xffffffff), 0);
    TEST_EQ(personality(ADDR_NO_RANDOMIZE), 0);
    TEST_EQ(personality(0), ADDR_NO_RANDOMIZE);
}

FN_TEST(random_bytes)
{
    unsigned char a[256] = {0}, b[256] = {0};
    TEST_EQ(getrandom(a, sizeof a, 0), sizeof a);
    TEST_EQ(getrandom(b, sizeof b, GRND_NONBLOCK), sizeof b);
    TEST_CHECK(memcmp(a, b, sizeof a) != 0);
    TEST_EQ(getrandom(a, 0, 0), 0);
    TEST_ERRNO(getrandom(a, 1, 0x80), EINVAL);
    TEST_ERRNO(getrandom(a, 1, 2 | 4), EINVAL);
    TEST_ERRNO(syscall(SYS_getrandom, 1, 10, 0), EFAULT);
    unsigned char *p = test_map(2 * TEST_PAGE);
    TEST_SUCC(munmap(p + TEST_PAGE, TEST_PAGE));
    TEST_CHECK(proc_read("/proc/sys/kernel/random/uuid") == 37);
    memcpy(a, proc_text, 37);
    TEST_CHECK(proc_read("/proc/sys/kernel/random/uuid") == 37 && memcmp(a, proc_text, 37) != 0);
    TEST_CHECK(proc_text[14] == '4' && proc_text[8] == '-');
    TEST_CHECK(proc_read("/proc/sys/kernel/random/boot_id") == 37);
    memcpy(a, proc_text, 37);
    TEST_CHECK(proc_read("/proc/sys/kernel/random/boot_id") == 37 && memcmp(a, proc_text, 37) == 0);
    TEST_SUCC(munmap(p, TEST_PAGE));
}

FN_TEST(barriers)
{
    long mask = TEST_SUCC(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0));
    TEST_CHECK(mask & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    TEST_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
    TEST_SUCC(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    TEST_SUCC(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    TEST_ERRNO(syscall(SYS_membarrier, 3, 0, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_membarrier, 0, 2, 0), EINVAL);
}

FN_TEST(kcmp_tells_what_is_shared)
{
    pid_t self = getpid();
    int fd = TEST_SUCC(dup(1));
    TEST_EQ(syscall(SYS_kcmp, self, self, KCMP_VM, 0, 0), 0);
    TEST_EQ(syscall(SYS_kcmp, self, self, KCMP_FILE, 1, fd), 0);
    TEST_RES(syscall(SYS_kcmp, self, self, KCMP_FILE, 1, TEST_SUCC(open("/dev/null", O_RDONLY))), _ret == 1 || _ret == 2);
    TEST_ERRNO(syscall(SYS_kcmp, self, self, KCMP_FILE, 1, 999), EBADF);
    TEST_ERRNO(syscall(SYS_kcmp, self, self, 99, 0, 0), EINVAL);
    TEST_ERRNO(syscall(SYS_kcmp, self, 99999999, KCMP_VM, 0, 0), ESRCH);
    TEST_CHILD({
        TEST_RES(syscall(SYS_kcmp, getpid(), self, KCMP_VM, 0, 0), _ret == 1 || _ret == 2);
        TEST_EQ(syscall(SYS_kcmp, getpid(), self, KCMP_FILE, 1, 1), 0);
    });
    close(fd);
}
