"""A server that belongs to one Python process, which started it with a pipe as its stdin."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading

from terrazzo.errors import ArgumentInvalid

_SECRET = re.compile(r"[A-Za-z0-9_-]{20,100}")


def secret_of_parent() -> str:
    """Return the secret that the parent sends as first line.

    Raises:
        ArgumentInvalid: it sends none.
    """
    secret = sys.stdin.readline().strip()
    if not _SECRET.fullmatch(secret):
        raise ArgumentInvalid("--embedded is for terrazzo.connect(), which sends a secret first.")
    return secret


def end_with_parent() -> None:
    """Tell this process to stop as soon as the parent has gone, however it went."""

    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
