"""Fetches the outlines of the land that maps of footprints are drawn on.

    python scripts/fetch_land.py [--check]

They are Natural Earth's, 1:50m, which are in the public domain (naturalearthdata.com), as the npm
package world-atlas has them (ISC). Simplified here to a tenth of a degree, without small islands:
the file is for orientation, offline, and small. `--check` only tells whether it is still the same.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely.geometry import Polygon

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE, VERSION = "world-atlas", "2.0.2"
INTEGRITY = (
    "IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ=="
)
"""SHA-512 of the package."""
FILE = Path(__file__).parents[1] / "src/terrazzo/server/static/explore/land.json"
TOLERANCE, SMALLEST, UNIT = 0.1, 0.1, 0.05
"""Degrees, square degrees, and degrees of a step."""


def main() -> None:
    """Write the file, or compare it."""
    options = argparse.ArgumentParser(description="Fetch the outlines of the land.")
    options.add_argument("--check", action="store_true", help="only compare")
    given = options.parse_args()
    made = {
        "source": f"Natural Earth 1:50m land, public domain, from {PACKAGE} {VERSION}",
        "unit": UNIT,
        "rings": [_steps(ring) for ring in _rings(_fetched())],
    }
    content = json.dumps(made, separators=(",", ":")).encode() + b"\n"
    if given.check:
        sys.exit(None if FILE.read_bytes() == content else f"{FILE} differs from the package.")
    FILE.write_bytes(content)
    sys.stdout.write(f"{FILE}: {len(content)} bytes\n")


def _fetched() -> dict[str, Any]:
    """Return the land as TopoJSON, once the package is known to be the one that was looked at."""
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
        file = files.extractfile("package/land-50m.json")
        if file is None:
            sys.exit(f"{PACKAGE} {VERSION} has no land-50m.json.")
        found: dict[str, Any] = json.load(file)
    return found


def _rings(topology: dict[str, Any]) -> Iterator[Any]:
    """Yield the simplified rings, shores of lakes among them, as (corner, lon and lat)."""
    scale, shift = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(arc, axis=0) * scale + shift for arc in topology["arcs"]]
    for geometry in topology["objects"]["land"]["geometries"]:
        inner = geometry["arcs"]
        for polygon in inner if geometry["type"] == "MultiPolygon" else [inner]:
            for ring in polygon:
                parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]
                simple = Polygon(_unrolled(np.concatenate(parts))).simplify(TOLERANCE)
                if simple.area >= SMALLEST:
                    yield np.array(simple.exterior.coords)


def _unrolled(ring: Any) -> Any:
    """Return a ring that goes on beyond 180 degrees, and around a pole by way of the pole."""
    lons = np.unwrap(ring[:, 0], period=360)
    lons -= 360 * np.round(lons.mean() / 360)
    ends = lons[[-1, 0]]
    if abs(ends[0] - ends[1]) > 1:
        pole = np.array([[lon, -90.0] for lon in ends])
        return np.concatenate([np.column_stack([lons, ring[:, 1]]), pole])
    return np.column_stack([lons, ring[:, 1]])


def _steps(ring: Any) -> list[int]:
    """Return a ring as steps of `UNIT`, longitude and latitude in turn, from corner to corner."""
    corners = np.round(ring / UNIT).astype(int)
    steps = np.diff(corners, axis=0, prepend=np.zeros((1, 2), int))
    steps = steps[np.concatenate([[True], steps[1:].any(axis=1)])]
    return [int(step) for step in steps.ravel()]


if __name__ == "__main__":
    main()
