"""What a machine offers is found by trying it, on machines that really have less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.sandbox.layers import this_machine

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = this_machine()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MACHINE.namespaces) or not MACHINE.landlock, reason="layers that are not here"
    ),
]
LESS = """
import json, os, struct, sys
from terrazzo.sandbox import seccomp
from terrazzo.sandbox.native import call_c

def without_namespaces():
    user, group = os.getuid(), os.getgid()
    call_c("unshare", 0x10000000)
    maps = {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}
    for name, text in maps.items():
        open(f"/proc/self/{name}", "w").write(text)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")

def without_landlock():
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x0005005F), (0x06, 0, 0, 0x7FFF0000)]
    seccomp.install(b"".join(struct.pack("<HBBI", *one) for one in code))

def main():
    for name in sys.argv[1:]:
        {"namespaces": without_namespaces, "landlock": without_landlock}[name]()
    import numpy as np
    from terrazzo.errors import TerrazzoError
    from terrazzo.sandbox import Axis, Block, Sandbox
    from terrazzo.sandbox.layers import this_machine

    code = "import os\\ndef apply_datacube(cube, context):\\n"
    code += "    return cube + os.path.exists('/etc/passwd')\\n"
    block = Block(np.zeros((2, 2), np.float32), (Axis("y", "spatial"), Axis("x", "spatial")))
    told = {"landlock": this_machine().landlock, "namespaces": this_machine().namespaces}
    sandbox = Sandbox()
    try:
        told["sees"] = bool(sandbox.run(code, block, {}).values.max())
    except TerrazzoError as error:
        told["refused"] = str(error)
    sandbox.close()
    print(json.dumps(told))

if __name__ == "__main__":
    main()
"""


def on_a_machine_without(tmp_path: Path, *layers: str) -> Any:
    script = tmp_path / "less.py"
    script.write_text(LESS)
    done = subprocess.run(
        [sys.executable, str(script), *layers],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["less.py"]
    return json.loads(done.stdout)


def test_this_machine_has_both(tmp_path: Path) -> None:
    told = on_a_machine_without(tmp_path)

    assert told == {"landlock": MACHINE.landlock, "namespaces": "", "sees": False}


def test_landlock_alone_is_used_where_namespaces_are_forbidden(tmp_path: Path) -> None:
    told = on_a_machine_without(tmp_path, "namespaces")

    assert "max_user_namespaces" in told["namespaces"]
    assert told["sees"]  # that it is there, not what is in it


def test_namespaces_alone_are_used_where_there_is_no_landlock(tmp_path: Path) -> None:
    told = on_a_machine_without(tmp_path, "landlock")

    assert told == {"landlock": 0, "namespaces": "", "sees": False}


def test_code_is_refused_where_there_is_neither(tmp_path: Path) -> None:
    told = on_a_machine_without(tmp_path, "namespaces", "landlock")

    assert "neither namespaces" in told["refused"]
    assert "max_user_namespaces" in told["refused"]
    assert "`terrazzo doctor`" in told["refused"]
