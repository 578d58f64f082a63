/* Ids, groups and capabilities. What needs privileges is tested where there are any. */
#include "proc.h"
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

/* linux/capability.h, which musl does not come with */
struct __user_cap_header_struct {
    uint32_t version;
    int pid;
};
struct __user_cap_data_struct {
    uint32_t effective, permitted, inheritable;
};
#define _LINUX_CAPABILITY_VERSION_1 0x19980330
#define _LINUX_CAPABILITY_VERSION_3 0x20080522
#define CAP_CHOWN 0
#define CAP_DAC_OVERRIDE 1
#define CAP_KILL 5
#define CAP_SETGID 6
#define CAP_SETUID 7

#define SETXID(nr, ...) syscall(nr, __VA_ARGS__)
#define BAD_ID (uid_t)-1

static int has_cap(int capability)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    TEST_SUCC(syscall(SYS_capget, &header, data));
    return data[capability / 32].effective >> capability % 32 & 1;
}

FN_TEST(ids_agree)
{
    uid_t r, e, s;
    TEST_SUCC(getresuid(&r, &e, &s));
    TEST_CHECK(r == getuid() && e == geteuid());
    gid_t gr, ge, gs;
    TEST_SUCC(getresgid(&gr, &ge, &gs));
    TEST_CHECK(gr == getgid() && ge == getegid());
    TEST_EQ(setfsuid(BAD_ID), geteuid());
    TEST_EQ(setfsgid(BAD_ID), getegid());
    TEST_ERRNO(SETXID(SYS_setuid, -1), EINVAL);
    TEST_ERRNO(SETXID(SYS_setgid, -1), EINVAL);
    TEST_SUCC(SETXID(SYS_setresuid, -1, -1, -1));
    TEST_SUCC(SETXID(SYS_setreuid, -1, -1));
    TEST_SUCC(setuid(getuid()));
    TEST_SUCC(setgid(getgid()));
    TEST_ERRNO(syscall(SYS_getresuid, 1, &e, &s), EFAULT);
}

FN_TEST(groups)
{
    gid_t list[64];
    int n = TEST_SUCC(getgroups(0, NULL));
    TEST_ERRNO(syscall(SYS_getgroups, -1, list), EINVAL);
    TEST_EQ(getgroups(64, list), n);
    if (n > 1)
        TEST_ERRNO(getgroups(1, list), EINVAL);
    if (!has_cap(CAP_SETGID)) {
        TEST_ERRNO(setgroups(0, NULL), EPERM);
        return;
    }
    TEST_CHILD({
        gid_t wanted[3] = {30, 10, 20};
        TEST_SUCC(setgroups(3, wanted));
        TEST_EQ(getgroups(64, list), 3);
        TEST_CHECK(list[0] == 10 && list[1] == 20 && list[2] == 30);
        TEST_ERRNO(getgroups(2, list), EINVAL);
        TEST_ERRNO(syscall(SYS_setgroups, 65537, wanted), EINVAL);
        TEST_ERRNO(syscall(SYS_setgroups, -1, wanted), EINVAL);
        TEST_ERRNO(syscall(SYS_setgroups, 3, 1), EFAULT);
        TEST_CHECK(proc_read("/proc/self/status") > 0);
        TEST_STR(proc_field("Groups"), "10 20 30 ");
        TEST_SUCC(setgroups(0, NULL));
        TEST_EQ(getgroups(0, NULL), 0);
    });
}

FN_TEST(dropping_root_for_good)
{
    if (!has_cap(CAP_SETUID))
        return;
    TEST_CHILD({
        TEST_SUCC(SETXID(SYS_setgid, 100));
        TEST_SUCC(SETXID(SYS_setuid, 1000));
        uid_t r, e, s;
        TEST_SUCC(getresuid(&r, &e, &s));
        TEST_CHECK(r == 1000 && e == 1000 && s == 1000);
        TEST_ERRNO(SETXID(SYS_setuid, 0), EPERM);
        TEST_ERRNO(SETXID(SYS_setreuid, 0, -1), EPERM);
        TEST_ERRNO(SETXID(SYS_setresuid, -1, 0, -1), EPERM);
        TEST_ERRNO(SETXID(SYS_setgid, 0), EPERM);
        TEST_ERRNO(setgroups(0, NULL), EPERM);
        TEST_CHECK(!has_cap(CAP_SETUID) && !has_cap(CAP_DAC_OVERRIDE));
        TEST_CHECK(proc_read("/proc/thread-self/status") > 0);
        TEST_STR(proc_field("Uid"), "1000\t1000\t1000\t1000");
        TEST_STR(proc_field("Gid"), "100\t100\t100\t100");
        TEST_STR(proc_field("CapEff"), "0000000000000000");
        TEST_STR(proc_field("CapPrm"), "0000000000000000");
        TEST_ERRNO(open("/etc/shadow", O_RDONLY), EACCES);
        TEST_EQ(prctl(PR_GET_DUMPABLE), 0);
    });
}

FN_TEST(switching_effective_ids)
{
    if (!has_cap(CAP_SETUID))
        return;
    TEST_CHILD({
        TEST_SUCC(SETXID(SYS_setresuid, -1, 1000, -1));
        TEST_CHECK(getuid() == 0 && geteuid() == 1000);
        TEST_CHECK(!has_cap(CAP_CHOWN));
        TEST_SUCC(SETXID(SYS_setresuid, -1, 0, -1));
        TEST_CHECK(has_cap(CAP_CHOWN));
        TEST_SUCC(SETXID(SYS_setreuid, 1000, 2000)); /* saved becomes 2000 */
        TEST_SUCC(SETXID(SYS_setreuid, 2000, 1000));
        TEST_CHECK(getuid() == 2000 && geteuid() == 1000);
        TEST_ERRNO(SETXID(SYS_setresuid, -1, -1, 0), EPERM);
        TEST_ERRNO(SETXID(SYS_setreuid, 0, -1), EPERM);
    });
    TEST_CHILD({
        TEST_EQ(setfsuid(1000), 0);
        TEST_EQ(setfsuid(BAD_ID), 1000);
        TEST_CHECK(!has_cap(CAP_DAC_OVERRIDE) && has_cap(CAP_KILL));
        TEST_EQ(setfsuid(0), 1000);
        TEST_CHECK(has_cap(CAP_DAC_OVERRIDE));
        TEST_EQ(setfsgid(77), 0);
        TEST_EQ(setfsgid(BAD_ID), 77);
    });
    TEST_CHILD({
        TEST_SUCC(prctl(PR_SET_KEEPCAPS, 1));
        TEST_EQ(prctl(PR_GET_KEEPCAPS), 1);
        TEST_SUCC(SETXID(SYS_setresuid, 1000, 1000, 1000));
        TEST_CHECK(!has_cap(CAP_CHOWN));
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct data[2];
        TEST_SUCC(syscall(SYS_capget, &header, data));
        TEST_CHECK(data[0].permitted & 1 << CAP_CHOWN);
        data[0].effective = 1 << CAP_CHOWN;
        data[1].effective = 0;
        TEST_SUCC(syscall(SYS_capset, &header, data));
        TEST_CHECK(has_cap(CAP_CHOWN) && !has_cap(CAP_KILL));
        data[0].permitted = data[1].permitted = 0;
        TEST_ERRNO(syscall(SYS_capset, &header, data), EPERM); /* effective beyond permitted */
        data[0].effective = 0;
        TEST_SUCC(syscall(SYS_capset, &header, data));
        data[0].permitted = 1;
        TEST_ERRNO(syscall(SYS_capset, &header, data), EPERM);
    });
}

FN_TEST(capability_versions)
{
    struct __user_cap_header_struct header = {0x12345678, 0};
    struct __user_cap_data_struct data[2];
    TEST_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
    TEST_EQ(header.version, _LINUX_CAPABILITY_VERSION_3);
    header.version = 0;
    TEST_SUCC(syscall(SYS_capget, &header, NULL));
    TEST_EQ(header.version, _LINUX_CAPABILITY_VERSION_3);
    header.version = _LINUX_CAPABILITY_VERSION_1;
    TEST_SUCC(syscall(SYS_capget, &header, data));
    header.version = _LINUX_CAPABILITY_VERSION_3;
    header.pid = -1;
    TEST_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
    header.pid = 99999999;
    TEST_ERRNO(syscall(SYS_capget, &header, data), ESRCH);
    header.pid = getppid();
    TEST_ERRNO(syscall(SYS_capset, &header, data), EPERM);
    TEST_ERRNO(syscall(SYS_capget, 1, data), EFAULT);
    TEST_RES(prctl(PR_CAPBSET_READ, CAP_CHOWN), _ret == 1);
    TEST_ERRNO(prctl(PR_CAPBSET_READ, 64), EINVAL);
}

FN_TEST(processes_of_others)
{
    if (!has_cap(CAP_SETUID))
        return;
    char path[64];
    pid_t parent = getpid();
    TEST_CHILD({
        TEST_SUCC(SETXID(SYS_setgid, 100));
        TEST_SUCC(SETXID(SYS_setuid, 1000));
        snprintf(path, sizeof path, "/proc/%d/status", parent);
        TEST_CHECK(proc_read(path) > 0);
        static const char *closed[] = {"mem", "maps", "environ", "auxv", "pagemap", "syscall", "io"};
        for (unsigned i = 0; i < sizeof closed / sizeof *closed; i++) {
            snprintf(path, sizeof path, "/proc/%d/%s", parent, closed[i]);
            TEST_RES(proc_read(path), _ret == -1 && (_err == EACCES || _err == EPERM));
        }
        snprintf(path, sizeof path, "/proc/%d/exe", parent);
        TEST_ERRNO(readlink(path, proc_text, 100), EACCES);
        snprintf(path, sizeof path, "/proc/%d/cwd", parent);
        TEST_ERRNO(readlink(path, proc_text, 100), EACCES);
        snprintf(path, sizeof path, "/proc/%d/fd", parent);
        TEST_ERRNO(open(path, O_RDONLY), EACCES);
        snprintf(path, sizeof path, "/proc/%d/comm", parent);
        TEST_ERRNO(open(path, O_WRONLY), EACCES);
        TEST_ERRNO(kill(parent, 0), EPERM);
    });
}

FN_TEST(execve_and_capabilities)
{
    if (!has_cap(CAP_SETUID))
        return;
    int status = TEST_CHILD_STATUS({
        TEST_SUCC(SETXID(SYS_setresuid, 0, 1000, 1000));
        execl("/bin/sh", "sh", "-p", "-c", "test $(id -u) = 1000 && test $(id -ru) = 0", (char *)0);
        _exit(98);
    });
    TEST_EQ(status, 0);
    status = TEST_CHILD_STATUS({
        TEST_SUCC(SETXID(SYS_setresuid, 1000, 1000, 1000));
        execl("/bin/sh", "sh", "-c", "test \"$(grep CapEff /proc/self/status)\" = 'CapEff:\t0000000000000000'", (char *)0);
        _exit(98);
    });
    TEST_EQ(status, 0);
}
