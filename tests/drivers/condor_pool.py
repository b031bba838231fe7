"""A real HTCondor for tests: its daemons in a root folder of their own, our Python seen there."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[2]
ROOT = Path(os.environ.get("CONDOR_ROOT", "/var/tmp/trixie-condor"))  # noqa: S108 - condor.sh's
PORT = 19618  # condor.sh's
USER = "tester"
"""Of the root folder: HTCondor takes no jobs of root."""
PATIENCE_S = 900
VIEW = """
set -e
layers=$1 tree=$2; shift 2
# Puts a folder there under the same path, or over itself; what is written to it stays in a layer.
cover() {
  mkdir -p "$layers/$3/upper" "$layers/$3/work" "$2"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$layers/$3/upper,workdir=$layers/$3/work" "$2"
}
cover "$CONDOR_ROOT" "$CONDOR_ROOT" root
chmod 755 "$CONDOR_ROOT/root"
cover "$tree" "$CONDOR_ROOT$tree" tree
# numba takes compiled kernels only from folders where it might keep them.
find "$CONDOR_ROOT$tree/src" -name __pycache__ -exec chmod 777 {} +
for folder; do mkdir -p "$CONDOR_ROOT$folder"; mount --bind "$folder" "$CONDOR_ROOT$folder"; done
mount -t tmpfs -o mode=1777 state /dev/shm
echo ready
exec cat
"""
"""Shows the tree and folders in HTCondor's root folder, to those who enter, until its input ends.

Nothing of what happens there is left behind: the state of HTCondor is of this view only, too.
"""


@dataclass(frozen=True)
class RealCondor:
    """One that runs, and the way into it."""

    call: tuple[str, ...]
    """Its script, where the folders are shown."""
    folder: Path
    """Seen by jobs under the same path; all in it is `USER`'s."""

    def say(self, *words: str) -> str:
        """Call a program inside as `USER` and return what it prints."""
        limited = shlex.join(["timeout", str(PATIENCE_S), *words])
        there = f"cd {shlex.quote(str(self.folder))} && {limited}"
        done = subprocess.run(
            [*self.call, "shell", there], check=False, capture_output=True, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def hand_over(self) -> None:
        """Let `USER` have all that lies in the folder."""
        lines = (ROOT / "etc/passwd").read_text().splitlines()
        user, group = next(line.split(":")[2:4] for line in lines if line.startswith(f"{USER}:"))
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, int(user), int(group))


def lacking(script: Path) -> str:
    """Return why HTCondor cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root (CAP_SYS_ADMIN): HTCondor is entered by mount and chroot"
    if not (ROOT / "usr/sbin/condor_master").exists():
        return f"needs HTCondor, once, a few minutes: bash {script} root"
    if Path(sys.base_prefix) == Path("/usr"):
        return (
            "needs a Python outside of /usr (pyenv, uv, conda): the root folder has another there"
        )
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", PORT), 10):
        return f"another HTCondor runs (port {PORT}); end it: bash {script} stop"
    return ""


@contextmanager
def real_condor(shared: Path, folder: Path) -> Iterator[RealCondor]:
    """Start HTCondor, whose jobs see this Python, this tree and a folder; and end it.

    Args:
        shared: has the script.
        folder: new and empty.
    """
    script = shared / "services" / "condor.sh"
    if reason := lacking(script):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    layers, seen = folder / "layers", folder / "seen"
    seen.mkdir()
    view = ["unshare", "--mount", "bash", "-c", VIEW, "view"]
    shown = [layers, TREE, sys.base_prefix, sys.prefix, seen]
    with subprocess.Popen(
        [*view, *map(str, shown)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"CONDOR_ROOT": str(ROOT)},
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "mounts failed, as told on stderr"
        enter = ("nsenter", "--mount", "--target", str(holder.pid), "bash", str(script))
        try:
            subprocess.run([*enter, "start"], check=True, timeout=600, stdin=subprocess.DEVNULL)
            yield RealCondor(enter, seen)
        finally:
            # At once, whatever jobs are left.
            master = Path(f"/proc/{holder.pid}/root/dev/shm/condor-test/master.pid")
            with suppress(OSError, ValueError):
                os.kill(int(master.read_text()), signal.SIGQUIT)
            subprocess.run([*enter, "stop"], check=False, timeout=600, stdin=subprocess.DEVNULL)
