"""Runs GRASS for one process, and clears up after it, whatever becomes of it.

`python -I -S keeper.py FOLDER` reads a JSON object per line, `commands` and `environment`, runs the
commands one after the other and answers with one line. When its input ends, as it does when the
process that started it has ended or wants no more, what runs is killed and FOLDER is deleted.
Nothing of Terrazzo is imported: it starts in a few hundredths of a second, and forks cheaply.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

_LAST_WORDS = 4000
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl."""


def main(folder: str) -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us
    libc = ctypes.CDLL(None)

    def end_with_us() -> None:
        libc.prctl(_DEATH_SIGNAL, signal.SIGKILL)

    try:
        for line in iter(sys.stdin.buffer.readline, b""):
            asked = json.loads(line)
            answer = _run(asked["commands"], asked["environment"], asked["folder"], end_with_us)
            if answer is None:
                break
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)  # a pipe that nobody reads is no error


def _run(
    commands: list[list[str]], environment: dict[str, str], folder: str, first: Any
) -> dict[str, Any] | None:
    """Run commands until one fails; None where nobody waits any more."""
    for command in commands:
        with tempfile.TemporaryFile(dir=folder) as said:
            ended = _ended(command, environment, folder, said, first)
            if ended is None:
                return None
            if ended != 0:
                size = said.seek(0, os.SEEK_END)
                said.seek(max(0, size - _LAST_WORDS))
                text = said.read().decode(errors="replace")
                return {"failed": command[0], "status": ended, "said": text}
    return {}


def _ended(
    command: list[str], environment: dict[str, str], folder: str, said: IO[bytes], first: Any
) -> int | None:
    """Return how a command ended; None where the input ended first, and so the command too."""
    try:
        process = subprocess.Popen(  # noqa: S603 - they are put together from a list of modules
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=first,  # noqa: PLW1509 - there are no other threads yet
        )
    except OSError as error:
        said.write(str(error).encode())
        return 127
    reading, writing = os.pipe()

    def wait() -> None:
        process.wait()
        os.close(writing)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        ready, _, _ = select.select([sys.stdin, reading], [], [])
        if reading in ready:
            waiting.join()
            return process.returncode
        os.killpg(process.pid, signal.SIGKILL)  # nothing is asked meanwhile: the input has ended
        waiting.join()
        return None
    finally:
        os.close(reading)


if __name__ == "__main__":
    main(sys.argv[1])
