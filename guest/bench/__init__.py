"""``forkyard bench``: what Forkyard costs, side by side with the host, qemu-user and strace, in one run.

``rows`` says what is measured, ``measure`` runs it, ``report`` shows it.
"""
