"""Ports for services that are told theirs before they start."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

FIRST = 10_000
RUN = 8
"""As many ports that follow each other are of one process."""


def free_port(following: int = 0) -> int:
    """Return a port that nobody listens at, and that nobody gets who lets the system choose.

    Processes that test at the same time choose among different ones. A system that gives away all
    ports leaves none for us alone; then a free one must do.

    Args:
        following: how many ports behind it must be free, too; less than `RUN`.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    end = int(given[0]) if int(given[0]) > FIRST + count * RUN else int(given[1])
    runs = range(FIRST + number * RUN, end - RUN, count * RUN)
    ports = [first + place for first in runs for place in range(RUN - following)]
    for port in random.SystemRandom().sample(ports, len(ports)):
        if all(map(_is_free, range(port, port + following + 1))):
            return port
    raise OSError("every port is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
