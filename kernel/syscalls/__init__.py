from kernel.syscalls import exec, futex, itimer, process, signal, sleep  # noqa: F401
