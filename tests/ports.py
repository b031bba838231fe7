"""Ports for services that are told theirs before they start."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

FIRST = 10_000


def free_port() -> int:
    """Return a port that nobody listens at, and that nobody gets who lets the system choose.

    Processes that test at the same time choose among different ones.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(FIRST + number, int(given[0]), count)
    for port in random.SystemRandom().sample(ports, len(ports)):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("every port is taken")
