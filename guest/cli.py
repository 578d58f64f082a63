"""Where ``forkyard`` begins: Ctrl-C is made to end it quietly before the rest of it is imported."""

import signal


def command_line() -> None:
    """What the ``forkyard`` command runs."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # As it ends any program, and not with Python's traceback. What can handle it installs a handler of its own.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from guest import commands

    commands.command_line()


if __name__ == "__main__":
    command_line()
