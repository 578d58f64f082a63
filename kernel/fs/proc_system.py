"""The files of /proc about the system as a whole (fs/proc/{meminfo,stat,uptime,loadavg,…}.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.clock import NSEC_PER_SEC, NSEC_PER_TICK, task_times_ns
from kernel.memory_info import memory_info
from kernel.mm.overcommit import commit_limit, committed_pages
from kernel.mm.swap import NAME
from kernel.task.loadavg import load_average, running

if TYPE_CHECKING:
    from kernel.fs.seqfile import PseudoDir
    from kernel.kernel import Kernel
    from kernel.task.task import Task

PAGE_KB = 4

#: What CPUID of the engine's CPU model says; no AVX, for it cannot execute that, nor XSAVE, which is not switched on.
CPU_FLAGS = (
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx rdtscp "
    "lm rep_good nopl cpuid pni pclmulqdq ssse3 cx16 sse4_1 sse4_2 movbe popcnt aes rdrand hypervisor lahf_lm abm bmi1 "
    "smep bmi2 erms"
)
_CPUINFO = (
    ("processor", 0), ("vendor_id", "GenuineIntel"), ("cpu family", 6), ("model", 60),
    ("model name", "Intel Core Processor (Haswell)"), ("stepping", 4), ("microcode", "0x1"), ("cpu MHz", "2000.000"),
    ("cache size", "16384 KB"), ("physical id", 0), ("siblings", 1), ("core id", 0), ("cpu cores", 1), ("apicid", 0),
    ("initial apicid", 0), ("fpu", "yes"), ("fpu_exception", "yes"), ("cpuid level", 13), ("wp", "yes"),
    ("flags", CPU_FLAGS), ("bugs", ""), ("bogomips", "4000.00"), ("clflush size", 64), ("cache_alignment", 64),
    ("address sizes", "40 bits physical, 48 bits virtual"), ("power management", ""),
)  # fmt: skip

_FILESYSTEMS = (
    ("sysfs", True), ("tmpfs", True), ("proc", True), ("devtmpfs", True), ("sockfs", True), ("pipefs", True),
    ("overlay", True),
)  # fmt: skip

_DEVICES = """Character devices:
  1 mem
  4 tty
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
136 pts

Block devices:
"""


def cpuinfo(task: Task) -> str:
    """/proc/cpuinfo: the one CPU."""
    lines = []
    for name, value in _CPUINFO:
        tabs = "\t" * max(1, 2 - len(name) // 8)
        lines.append(f"{name}{'' if name in _NO_TAB else tabs}:" + (f" {value}" if value != "" else ""))
    return "\n".join(lines) + "\n\n"


_NO_TAB = frozenset(("power management",))


def meminfo(task: Task) -> str:
    """/proc/meminfo."""
    kernel = task.kernel
    info = memory_info(kernel)
    zero = 0
    rows: tuple[tuple[str, int], ...] = (
        ("MemTotal", info.total), ("MemFree", info.free), ("MemAvailable", info.available), ("Buffers", zero),
        ("Cached", info.cached), ("SwapCached", info.swap_cached), ("Active", info.anon + info.shmem),
        ("Inactive", info.file),
        ("Active(anon)", info.anon + info.shmem), ("Inactive(anon)", zero), ("Active(file)", zero),
        ("Inactive(file)", info.file), ("Unevictable", zero), ("Mlocked", zero), ("SwapTotal", info.swap_total),
        ("SwapFree", info.swap_free), ("Zswap", zero), ("Zswapped", zero), ("Dirty", info.dirty), ("Writeback", zero),
        ("AnonPages", info.anon), ("Mapped", info.mapped), ("Shmem", info.shmem), ("KReclaimable", zero),
        ("Slab", zero), ("SReclaimable", zero), ("SUnreclaim", zero), ("KernelStack", 4 * len(kernel.tasks)),
        ("PageTables", info.page_tables), ("SecPageTables", zero), ("NFS_Unstable", zero), ("Bounce", zero),
        ("WritebackTmp", zero), ("CommitLimit", commit_limit(kernel.memory)),
        ("Committed_AS", committed_pages(kernel.memory)),
    )  # fmt: skip
    tail = (
        ("VmallocTotal", 34359738367), ("VmallocUsed", 0), ("VmallocChunk", 0), ("Percpu", 0),
        ("AnonHugePages", info.anon_huge * PAGE_KB),
        ("ShmemHugePages", 0), ("ShmemPmdMapped", 0), ("FileHugePages", 0), ("FilePmdMapped", 0), ("Balloon", 0),
    )  # fmt: skip
    lines = [f"{name + ':':<16}{pages * PAGE_KB:8} kB" for name, pages in rows]
    lines += [f"{name + ':':<16}{value:8} kB" for name, value in tail]
    pool = (("Total", info.pool_total), ("Free", info.pool_free), ("Rsvd", info.pool_promised), ("Surp", 0))
    lines += [f"{'HugePages_' + name + ':':<16}{pages:8}" for name, pages in pool]
    lines += ["Hugepagesize:       2048 kB", f"Hugetlb:        {info.pool_total * 2048:8} kB"]
    direct_kb = info.total * PAGE_KB
    lines += [f"DirectMap4k:    {direct_kb % 2048:8} kB", f"DirectMap2M:    {direct_kb // 2048 * 2048:8} kB",
              f"DirectMap1G:    {0:8} kB"]  # fmt: skip
    return "\n".join(lines) + "\n"


def stat(task: Task) -> str:
    """/proc/stat: the CPU's time in ticks, boot time, tasks."""
    kernel = task.kernel
    user, system, idle = cpu_ticks(kernel)
    cpu = f"{user} 0 {system} {idle} 0 0 0 0 0 0"
    switches = sum(t.voluntary_switches + t.involuntary_switches for t in kernel.tasks.values())
    return (
        f"cpu  {cpu}\ncpu0 {cpu}\nintr 0\nctxt {switches}\nbtime {kernel.clock.boot_realtime_s()}\n"
        f"processes {max(kernel.tasks.last - 999, len(kernel.tasks))}\nprocs_running {running(kernel)}\n"
        "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
    )


def cpu_ticks(kernel: Kernel) -> tuple[int, int, int]:
    """(user, system, idle) time since boot in ticks: of live processes and those they reaped."""
    user = system = 0
    for group in kernel.tasks.groups.values():
        user += group.utime_ns + group.children_utime_ns
        system += group.stime_ns + group.children_stime_ns
        for thread in group.threads:
            thread_user, thread_system = task_times_ns(thread)
            user, system = user + thread_user, system + thread_system
    uptime = kernel.clock.boottime_ns()
    return user // NSEC_PER_TICK, system // NSEC_PER_TICK, max(uptime - user - system, 0) // NSEC_PER_TICK


def uptime(task: Task) -> str:
    """/proc/uptime: seconds since boot, and seconds idle."""
    now = task.kernel.clock.boottime_ns()
    idle = cpu_ticks(task.kernel)[2]
    return f"{now // NSEC_PER_SEC}.{now % NSEC_PER_SEC // 10_000_000:02d} {idle // 100}.{idle % 100:02d}\n"


def loadavg(task: Task) -> str:
    """/proc/loadavg: averages, running/all tasks, the last pid."""
    kernel = task.kernel
    one, five, fifteen = load_average(kernel)
    return f"{one:.2f} {five:.2f} {fifteen:.2f} {running(kernel)}/{len(kernel.tasks)} {kernel.tasks.last}\n"


def vmstat(task: Task) -> str:
    """/proc/vmstat: the counters that exist here."""
    info = memory_info(task.kernel)
    swap = task.kernel.memory.swap
    minor = major = 0
    for space in task.kernel.memory.spaces.values():
        stats = space.stats()
        minor, major = minor + stats.minor_faults, major + stats.major_faults
    rows: dict[str, Any] = {
        "nr_free_pages": info.free, "nr_zone_inactive_anon": 0, "nr_zone_active_anon": info.anon + info.shmem,
        "nr_zone_inactive_file": info.file, "nr_zone_active_file": 0, "nr_zone_unevictable": 0,
        "nr_zone_write_pending": info.dirty, "nr_mlock": 0, "nr_inactive_anon": 0,
        "nr_active_anon": info.anon + info.shmem, "nr_inactive_file": info.file, "nr_active_file": 0,
        "nr_unevictable": 0, "nr_anon_pages": info.anon, "nr_mapped": info.mapped, "nr_file_pages": info.cached,
        "nr_dirty": info.dirty, "nr_writeback": 0, "nr_shmem": info.shmem, "nr_page_table_pages": info.page_tables,
        "pgpgin": 0, "pgpgout": 0, "pswpin": swap.pages_in if swap else 0,
        "pswpout": swap.pages_out if swap else 0, "pgfault": minor + major, "pgmajfault": major,
        "oom_kill": 0,
    }  # fmt: skip
    return "".join(f"{name} {value}\n" for name, value in rows.items())


def swaps(task: Task) -> str:
    """/proc/swaps: sizes in kB (swap_show)."""
    text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    swap = task.kernel.memory.swap
    if swap is None:
        return text
    name, size, used = NAME.decode(), swap.total_pages * PAGE_KB, swap.used_pages * PAGE_KB
    return text + f"{name:<40}file\t\t{size}\t{'' if size >= 10_000_000 else chr(9)}{used}\t" \
                  f"{'' if used >= 10_000_000 else chr(9)}-2\n"


def add_system_files(root: PseudoDir, kernel: Kernel) -> None:
    """Enter all of these."""
    for name, generate in (
        ("cpuinfo", cpuinfo), ("loadavg", loadavg), ("meminfo", meminfo), ("stat", stat), ("uptime", uptime),
        ("vmstat", vmstat),
    ):  # fmt: skip
        root.file(name, generate)
    root.text("cmdline", "console=ttyS0\n")
    root.text("consoles", "")
    root.text("devices", _DEVICES)
    root.text("diskstats", "")
    root.text("filesystems", "".join(f"{'nodev' if nodev else ''}\t{name}\n" for name, nodev in _FILESYSTEMS))
    root.text("interrupts", "           CPU0       \n")
    root.text("locks", "")
    root.text("misc", "")
    root.text("modules", "")
    root.text("partitions", "major minor  #blocks  name\n\n")
    root.file("swaps", swaps)
    root.file("version", lambda task: kernel.uts.proc_version())
