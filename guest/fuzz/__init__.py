"""Fuzzing: an AFL++ launcher that forks the program inside the emulator once for each input.

    fuzz_command, afl_command ─> protocol, sentinel, shm      what afl-fuzz says and hears
                                    │
                                    v
    crash, replay ──────────────> forkserver ─> forkpoint     one parked process, one fork on demand for each input
                                    │       └─> input         where the bytes come from, and what the program sees
                                    v
                                 guest.session
"""
