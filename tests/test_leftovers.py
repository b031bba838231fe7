"""What tests start ends with them, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120.0
LEAVING = """
import os, subprocess, sys, time
from tests import leftovers
leftovers.watch(sys.argv[1], 0.1)
os.environ[leftovers.MARK] = sys.argv[1]
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
left = subprocess.Popen(sleep, start_new_session=True)
print(left.pid, flush=True)
time.sleep(600)
"""


def test_what_killed_tests_have_left_running_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING, uuid.uuid4().hex],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as tests:  # fmt: skip
        assert tests.stdout is not None
        left = Path("/proc") / tests.stdout.readline().strip()
        assert left.exists()

        os.kill(tests.pid, signal.SIGKILL)

    end = time.monotonic() + PATIENCE_S
    while left.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
