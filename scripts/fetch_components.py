"""Fetches the openEO web components that the pages of processes use, and puts them in one file.

    python scripts/fetch_components.py [--check]

They are published ready-made by the openEO Consortium on npm (Apache-2.0). Kept here are those
that our pages use and what these load, joined; icons that they would take from another host
come from a style sheet beside them. What compiles JSON Schemas into code is left out: the pages
forbid to run texts as code, and the server checks graphs. `--check` only tells whether the file is
still the same.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "@openeo/vue-components", "2.23.4"
INTEGRITY = (
    "4IYYzFigwitTdsivuhI0swdikCLx4jSs3bbdlAjYrwIVGw7dH0KOSLHvlJb/sR1sbWvg7g1XYVF64oGnNJ5yzg=="
)
"""SHA-512 of the package."""
USED = ("openeo-processes", "openeo-model-builder")
"""The elements of our pages."""
FOLDER = Path(__file__).parents[1] / "src" / "terrazzo" / "server" / "static" / "components"
NAME = "openeo.min.js"
_ICONS = (
    "https://use.fontawesome.com/releases/v5.13.0/css/all.css",
    "https://use.fontawesome.com/releases/v5.13.0/webfonts/fa-solid-900.woff2",
)
_ICONS_HERE = "static/components/fontawesome.css"
_COMPILER = "createJsonSchemaValidatorInstance(){return new i}"
_NO_COMPILER = (
    "createJsonSchemaValidatorInstance()"
    "{return{setProcessGraphParser(){},validateValue:async()=>[]}}"
)


def main() -> None:
    """Write the files, or compare them."""
    options = argparse.ArgumentParser(description="Fetch the openEO web components.")
    options.add_argument("--check", action="store_true", help="only compare")
    given = options.parse_args()
    package = fetched()
    made = {NAME: joined(package), "LICENSE": package["LICENSE"]}
    if given.check:
        old = [name for name in made if (FOLDER / name).read_bytes() != made[name]]
        sys.exit(f"These differ from the package: {', '.join(old)}" if old else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        (FOLDER / name).write_bytes(content)
        sys.stdout.write(f"{FOLDER / name}: {len(content)} bytes\n")


def fetched() -> dict[str, bytes]:
    """Return the files of the package, once it is known to be the one that was looked at."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - npm of PATH
            ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent"],  # noqa: S607 - as above
            check=True, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (archive,) = Path(folder).glob("*.tgz")
        content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != INTEGRITY:
        sys.exit(f"{PACKAGE} {VERSION} is not what it was: its SHA-512 differs.")
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        found = {}
        for member in files:
            file = files.extractfile(member)
            if file is not None:
                found[member.name.removeprefix("package/")] = file.read()
    return found


def joined(package: dict[str, bytes]) -> bytes:
    """Return what the elements need as one script: first its parts, which then need no loading."""
    begin = package[f"assets/{NAME}"].decode()
    parts: set[str] = set()
    wanted = [part for element in USED for part in _parts(_definition(begin, element))]
    while wanted:
        part = wanted.pop()
        if part not in parts:
            parts.add(part)
            wanted += _parts(_part(package, part))
    head = (
        f"/*! {PACKAGE} {VERSION}, openEO Consortium, Apache License 2.0 (see LICENSE here).\n"
        " * Joined by scripts/fetch_components.py, which also puts our own style sheet in place\n"
        " * of one with icons on another host. */\n"
    )
    text = "\n".join([*(_part(package, part) for part in sorted(parts)), begin])
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
    for address in _ICONS:
        text = text.replace(address, _ICONS_HERE)
    if text.count(_COMPILER) != 1:
        sys.exit(f"{PACKAGE} {VERSION} makes its validator elsewhere.")
    text = text.replace(_COMPILER, _NO_COMPILER)
    return (head + text + "\n").encode()


def _definition(script: str, element: str) -> str:
    found = re.search(rf'define\("{element}",(.*?)(?:window\.customElements|$)', script, re.DOTALL)
    if found is None:
        sys.exit(f"{NAME} of {PACKAGE} {VERSION} does not define {element}.")
    return found[1]


def _part(package: dict[str, bytes], number: str) -> str:
    return package[f"assets/openeo.{number}.min.js"].decode()


def _parts(script: str) -> list[str]:
    """Return the numbers of the parts that a script loads."""
    return re.findall(r"\.e\((\d+)\)", script)


if __name__ == "__main__":
    main()
