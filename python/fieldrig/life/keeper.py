"""Keeps a program that is a device: it ends when its run ends, however that ends.

``keeper.py LEFT PROGRAM ARGUMENT..`` is started by `program.Program` in a session of its own, so that Ctrl-C reaches
neither it nor the program. It says on standard output with which process id the program runs (``pid 4711``) or why it
does not (``no ..``). It ends the program, and all that the program started, when its standard input ends: when the run
closes it, or dies. Then it takes away what LEFT names: a JSON list of sockets, and of the folders made for them. If the
keeper itself is killed, the kernel ends the program (PR_SET_PDEATHSIG, prctl(2)).

It needs nothing of fieldrig, and starts within milliseconds.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import stat
import subprocess
import sys

PATIENCE = 2.0
"""So many seconds the program has to end by itself (SIGTERM)."""
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Starts the program, and ends it."""
    libc = ctypes.CDLL(None)  # loaded before the fork
    own = os.getpid()

    def tied() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)

    try:
        program = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=2, process_group=0, preexec_fn=tied)
    except (OSError, ValueError) as error:
        os.write(1, f"no {error}\n".encode())
        return 1
    os.write(1, f"pid {program.pid}\n".encode())
    ended = os.pidfd_open(program.pid)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ended in ready or (0 in ready and not os.read(0, 4096)):
            break
    signalled(program.pid, signal.SIGTERM)
    only = select.poll()
    only.register(ended, select.POLLIN)
    only.poll(PATIENCE * 1000)
    signalled(program.pid, signal.SIGKILL)
    code = program.wait()
    for path in json.loads(sys.argv[1]):
        take_away(path)
    return 0 if code == 0 else 1


def take_away(path: str) -> None:
    """Removes a socket, or a folder in which nothing is left; anything else stays."""
    with contextlib.suppress(OSError):
        found = os.lstat(path).st_mode
        if stat.S_ISSOCK(found):
            os.unlink(path)
        elif stat.S_ISDIR(found):
            os.rmdir(path)


def signalled(group: int, number: signal.Signals) -> None:
    """Sends a signal to the process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
