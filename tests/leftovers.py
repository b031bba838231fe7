"""Ends what tests have started and left running, also when the tests themselves were killed.

`python leftovers.py NAME VALUE SECONDS` reads until its input ends, which it does with whoever
started it, and then ends every process that has NAME=VALUE in its environment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

MARK = "TESTS_OF_TERRAZZO"


def watch(value: str, patience_s: float = 15.0) -> None:
    """Have whatever is started with `MARK` set to a value end after this process.

    They have some seconds to do so by themselves, and then as many to end in order.
    """
    reading, _ = os.pipe()  # nobody else has the other end, so that it closes with us
    command = [sys.executable, "-S", __file__, MARK, value, str(patience_s)]
    with Path(os.devnull).open("r+b") as nowhere:
        os.posix_spawn(
            command[0], command, os.environ, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, 0),
                *((os.POSIX_SPAWN_DUP2, nowhere.fileno(), stream) for stream in (1, 2)),
            ],
        )  # fmt: skip
    os.close(reading)


def marked(entry: bytes) -> set[int]:
    """Return the processes with an entry in their environment."""
    found = set()
    for process in Path("/proc").iterdir():
        # Others' are closed to us, and some end meanwhile.
        with suppress(OSError, ValueError):
            if entry in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found


def main(name: str, value: str, patience_s: str) -> None:
    sys.stdin.read()
    entry = f"{name}={value}".encode()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        for process in marked(entry) if number else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        end = time.monotonic() + float(patience_s)
        while marked(entry) and time.monotonic() < end:
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
