from kernel.syscalls import exec, process  # noqa: F401
