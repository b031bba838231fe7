"""GRASS itself over a whole raster, as people run it: another way in and out than ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COMMAND = shutil.which("grass")
PROCESSES = {"run_grass", "run_grass_whole"}
"""Processes that are not openEO's, and need GRASS."""


def need_grass() -> None:
    """Skip a test where GRASS is not installed; in continuous integration it has to be."""
    if COMMAND is None:
        reason = "needs GRASS: apt-get install grass-core"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def grass_itself(
    raster: Path, modules: Sequence[str], outputs: Sequence[str], folder: Path
) -> dict[str, NDArray[Any]]:
    """Run modules over a file, `map` to them, and return the maps that they made; NaN is null."""
    script = folder / "script.sh"
    lines = [
        "set -e",
        f"r.in.gdal -o input={raster} output=map",
        "g.region raster=map",
        *modules,
        *(
            f"r.out.gdal -f -c input={name} output={folder}/{name}.tif type=Float64 nodata=nan"
            for name in outputs
        ),
    ]
    script.write_text("\n".join(lines))
    command = [str(COMMAND), "--tmp-location", str(raster), "--exec", "bash", str(script)]
    ran = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "GRASS_OVERWRITE": "1"},
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = {}
    for name in outputs:
        with rasterio.open(folder / f"{name}.tif") as file:
            found[name] = np.asarray(file.read(1))
    return found
