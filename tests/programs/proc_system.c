/* The files of /proc and /sys about the system; settings that can be written back. */
#include "proc.h"
#include <dirent.h>
#include <sys/statfs.h>

FN_TEST(numbers_in_proc_sys)
{
    static const char *numbers[] = {
        "kernel/pid_max", "kernel/threads-max", "kernel/overflowuid", "kernel/overflowgid", "kernel/ngroups_max",
        "kernel/cap_last_cap", "kernel/randomize_va_space", "kernel/shmmax", "kernel/random/entropy_avail",
        "vm/overcommit_memory", "vm/overcommit_ratio", "vm/max_map_count", "vm/mmap_min_addr", "vm/swappiness",
        "fs/file-max", "fs/nr_open", "fs/pipe-max-size",
    };
    char path[100];
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(path, sizeof path, "/proc/sys/%s", numbers[i]);
        char *end;
        if (proc_read(path) <= 0)
            test_fail(__FILE__, __LINE__, "%s: %s", path, test_errno_name(errno));
        strtoull(proc_text, &end, 10);
        if (end == proc_text || strcmp(end, "\n"))
            test_fail(__FILE__, __LINE__, "%s is \"%s\"", path, proc_text);
    }
    TEST_CHECK(proc_read("/proc/sys/kernel/ostype") > 0);
    TEST_STR(proc_text, "Linux\n");
    TEST_CHECK(proc_read("/proc/sys/fs/file-nr") > 0);
    long a, b;
    unsigned long c;
    TEST_EQ(sscanf(proc_text, "%ld\t%ld\t%lu\n", &a, &b, &c), 3);
    TEST_ERRNO(open("/proc/sys/kernel/nothing", O_RDONLY), ENOENT);
    TEST_ERRNO(open("/proc/sys/vm/drop_caches", O_RDONLY), EACCES);
    TEST_ERRNO(open("/proc/sys/kernel/ostype", O_WRONLY), EACCES);
}

FN_TEST(written_settings_are_read_back)
{
    if (geteuid() != 0)
        return;
    char saved[64];
    TEST_CHECK(proc_read("/proc/sys/vm/swappiness") > 0);
    strcpy(saved, proc_text);
    TEST_EQ(proc_write("/proc/sys/vm/swappiness", "71\n"), 3);
    TEST_CHECK(proc_read("/proc/sys/vm/swappiness") > 0);
    TEST_STR(proc_text, "71\n");
    TEST_RES(proc_write("/proc/sys/vm/swappiness", "201"), _ret == -1 && _err == EINVAL);
    TEST_RES(proc_write("/proc/sys/vm/swappiness", "-1"), _ret == -1 && _err == EINVAL);
    TEST_RES(proc_write("/proc/sys/vm/swappiness", "many"), _ret == -1 && _err == EINVAL);
    TEST_EQ(proc_write("/proc/sys/vm/swappiness", saved), strlen(saved));
}

FN_TEST(proc_lists_processes)
{
    DIR *dir = opendir("/proc");
    TEST_CHECK(dir);
    int self = 0, meminfo = 0, dots = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (atoi(e->d_name) == getpid()) {
            self++;
            TEST_EQ(e->d_type, DT_DIR);
        }
        if (strcmp(e->d_name, "meminfo") == 0) {
            meminfo++;
            TEST_EQ(e->d_type, DT_REG);
        }
        if (strcmp(e->d_name, "self") == 0)
            TEST_EQ(e->d_type, DT_LNK);
        dots += e->d_name[0] == '.';
    }
    closedir(dir);
    TEST_EQ(self, 1);
    TEST_EQ(meminfo, 1);
    TEST_EQ(dots, 2);
    struct statfs fs;
    TEST_SUCC(statfs("/proc", &fs));
    TEST_EQ(fs.f_type, 0x9fa0);
    TEST_SUCC(statfs("/proc/self/status", &fs));
    TEST_EQ(fs.f_type, 0x9fa0);
    TEST_SUCC(statfs("/sys", &fs));
    TEST_EQ(fs.f_type, 0x62656572);
    struct stat a, b;
    TEST_SUCC(stat("/proc/self/status", &a));
    TEST_SUCC(stat("/proc/thread-self/../../status", &b));
    TEST_CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    TEST_SUCC(stat("/proc", &a));
    TEST_EQ(a.st_ino, 1);
    TEST_EQ(a.st_mode, S_IFDIR | 0555);
    TEST_CHECK(access("/proc/meminfo", R_OK) == 0);
}

FN_TEST(memory_figures)
{
    TEST_CHECK(proc_read("/proc/meminfo") > 0);
    long total = proc_number("MemTotal"), free = proc_number("MemFree"), available = proc_number("MemAvailable");
    TEST_CHECK(total > 10000 && free > 0 && free <= total && available > 0 && available <= total);
    TEST_EQ(proc_number("Hugepagesize"), 2048);
    TEST_CHECK(strncmp(proc_text, "MemTotal: ", 10) == 0);
    unsigned char *p = test_map(16 << 20);
    memset(p, 1, 16 << 20);
    TEST_CHECK(proc_read("/proc/meminfo") > 0);
    TEST_CHECK(proc_number("AnonPages") >= 16 << 10);
    TEST_SUCC(munmap(p, 16 << 20));
}

FN_TEST(mounts_name_proc)
{
    TEST_CHECK(proc_read("/proc/mounts") > 0);
    TEST_CHECK(strstr(proc_text, "proc /proc proc rw"));
    TEST_CHECK(strstr(proc_text, " / "));
    TEST_CHECK(proc_read("/proc/self/mountinfo") > 0);
    TEST_CHECK(strstr(proc_text, " / /proc rw"));
    TEST_CHECK(strstr(proc_text, " - proc proc rw"));
    TEST_CHECK(proc_read("/proc/filesystems") > 0);
    TEST_CHECK(strstr(proc_text, "nodev\tproc\n") && strstr(proc_text, "nodev\ttmpfs\n"));
    TEST_CHECK(proc_read("/proc/swaps") > 0);
    TEST_STR(strtok(proc_text, "\n"), "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority");
    TEST_CHECK(proc_read("/proc/partitions") > 0);
    TEST_CHECK(proc_read("/proc/devices") > 0);
    TEST_CHECK(strncmp(proc_text, "Character devices:\n  1 mem\n", 27) == 0);
}

FN_TEST(cpu_in_sysfs)
{
    TEST_CHECK(proc_read("/sys/devices/system/cpu/online") > 0);
    TEST_CHECK(proc_text[0] == '0');
    char online[64];
    strcpy(online, proc_text);
    TEST_CHECK(proc_read("/sys/devices/system/cpu/present") > 0);
    TEST_STR(proc_text, online);
    TEST_SUCC(access("/sys/devices/system/cpu/cpu0/topology/core_id", R_OK));
    TEST_CHECK(proc_read("/sys/kernel/mm/transparent_hugepage/enabled") > 0);
    TEST_CHECK(strstr(proc_text, "never") && strchr(proc_text, '['));
    struct stat st;
    TEST_SUCC(stat("/sys/kernel/mm/transparent_hugepage/enabled", &st));
    TEST_EQ(st.st_size, 4096);
    TEST_SUCC(stat("/sys/fs", &st));
    TEST_CHECK(S_ISDIR(st.st_mode));
}
