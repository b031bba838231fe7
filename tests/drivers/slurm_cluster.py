"""A real Slurm of two nodes on this machine, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 120.0
NODES = ("n1", "n2")


@dataclass(frozen=True)
class RealSlurm:
    """One that runs; its programs find it by the environment."""

    home: Path

    def say(self, *words: str) -> str:
        """Call one of Slurm's programs and return what it prints."""
        done = subprocess.run(words, check=False, timeout=60, capture_output=True, text=True)
        return done.stdout

    def set_node(self, node: str, state: str) -> None:
        """Drain a node, take it down, or let it come back."""
        reason = [] if state == "resume" else ["reason=test"]
        self.say("scontrol", "update", f"nodename={node}", f"state={state}", *reason)

    def resume_nodes(self) -> None:
        """Let all nodes come back that are drained or down."""
        for node in NODES:
            self.set_node(node, "resume")

    def kill_controller(self) -> None:
        """Kill the scheduler -9, and wait until it is gone."""
        pid = int((self.home / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + PATIENCE_S
        while _alive(pid):
            assert time.monotonic() < end
            time.sleep(0.02)

    def start_controller(self, *options: str) -> None:
        """Start the scheduler, which goes on with what it had noted; wait until it answers."""
        command = ["slurmctld", *options]
        subprocess.run(
            command, check=True, timeout=60, stdin=subprocess.DEVNULL, capture_output=True
        )
        end = time.monotonic() + PATIENCE_S
        while "UP" not in self.say("scontrol", "ping"):
            assert time.monotonic() < end
            time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def real_slurm(shared: Path) -> Iterator[RealSlurm]:
    """Start a Slurm of two nodes, and end it."""
    script = shared / "services" / "slurm.sh"
    home = Path(tempfile.gettempdir()) / f"tz-slurm-{uuid.uuid4().hex[:8]}"
    first = str(free_port(len(NODES)))  # the nodes have those that follow
    settings = {"SLURM_HOME": str(home), "CTL_PORT": first, "SLURMD_PORT": first}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            subprocess.run(["bash", str(script), "start"], check=True, timeout=120)
            patch.setenv("SLURM_CONF", f"{home}/slurm.conf")
            yield RealSlurm(home)
        finally:
            subprocess.run(["bash", str(script), "stop"], check=False, timeout=60)
            shutil.rmtree(home, ignore_errors=True)
