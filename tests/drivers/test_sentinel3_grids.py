"""Sentinel-3 products with several grids, or with positions under another name: SLSTR 500 m, SYN.

Files are made for the purpose in the layout of SLSTR level 1 and 2 (S3IPF.PDS.005) and of SYN level
2 (S3IPF.PDS.008): names of files, variables and dimensions, types and scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.drivers import swaths
from tests.drivers.test_swaths import half_diagonal, pixels, small, taken_in

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SLSTR_L1 = (
    "S3A_SL_1_RBT____20230601T100512_20230601T100812_20230602T1_0179_080_122_0720_PS2_O_NT_004"
)
SYN_L2 = "S3A_SY_2_SYN____20230601T100512_20230601T100812_20230602T1_0179_080_122_0720_PS2_O_NT_002"
IMAGE = ("rows", "columns")
RADIANCE = {"_FillValue": np.int16(-32768), "scale_factor": 0.01, "add_offset": 100.0}


def manifest(kind: str) -> str:
    return swaths._MANIFEST.replace("OL_2_LFR___", kind)


def finer(values: Floats) -> Floats:
    """Return an image of twice the rows and columns, whose quads are the pixels of the first."""
    rows, cols = (np.arange(2 * size) / 2 - 0.25 for size in values.shape)
    row = np.clip(rows, 0, values.shape[0] - 1.001)
    col = np.clip(cols, 0, values.shape[1] - 1.001)
    top, left = row.astype(int), col.astype(int)
    down, right = (rows - top)[:, None], (cols - left)[None]
    quad = [
        [values[np.ix_(top + dy, left + dx)] for dx in (0, 1)] for dy in (0, 1)
    ]  # linear, and beyond the edge, too
    upper = quad[0][0] * (1 - right) + quad[0][1] * right
    lower = quad[1][0] * (1 - right) + quad[1][1] * right
    found: Floats = upper * (1 - down) + lower * down
    return found


def slstr_level_1(folder: Path, longitudes: Floats, latitudes: Floats) -> Path:
    """Write radiances of 500 m, nadir and oblique, and a brightness temperature of 1 km."""
    product = folder / f"{SLSTR_L1}.SEN3"
    fine = finer(longitudes), finer(latitudes)
    grids = {"an": fine, "ao": tuple(one[:, 20:70] for one in fine), "in": (longitudes, latitudes)}
    for grid, (east, north) in grids.items():
        name = f"S8_BT_{grid}" if grid == "in" else f"S1_radiance_{grid}"
        values = np.rint((swaths.field(east, north) - 100) * 100).astype(np.int16)
        swaths.write(product / f"{name}.nc", {"": {name: (IMAGE, values, RADIANCE)}})
        swaths.write(product / f"geodetic_{grid}.nc", {"": places(east, north, f"_{grid}")})
    (product / "xfdumanifest.xml").write_text(manifest("SL_1_RBT___"))
    return product


def syn_level_2(folder: Path, longitudes: Floats, latitudes: Floats) -> Path:
    """Write reflectances with positions in `geolocation.nc`."""
    product = folder / f"{SYN_L2}.SEN3"
    scaled = np.rint(swaths.field(longitudes, latitudes) * 30).astype(np.int16)
    told = {"_FillValue": np.int16(-10000), "scale_factor": 1 / 30, "add_offset": 0.0}
    for band in ("Oa08", "S3N"):
        name = f"SDR_{band}"
        swaths.write(product / f"Syn_{band}_reflectance.nc", {"": {name: (IMAGE, scaled, told)}})
    geo = {name[:3]: one for name, one in places(longitudes, latitudes).items()}
    swaths.write(product / "geolocation.nc", {"": geo})
    flags = {"flag_masks": np.array([1, 2], np.uint16), "flag_meanings": "CLOUD SHADOW"}
    swaths.write(
        product / "flags.nc", {"": {"SYN_flags": (IMAGE, scaled.astype(np.uint16) % 4, flags)}}
    )
    (product / "xfdumanifest.xml").write_text(manifest("SY_2_SYN___"))
    return product


def places(longitudes: Floats, latitudes: Floats, end: str = "") -> dict[str, Any]:
    return swaths._places(IMAGE, longitudes, latitudes, end)


def test_grids_of_500_m_and_1_km_keep_their_pixels_in_one_item(tmp_path: Path):
    longitudes, latitudes = small()
    slstr_level_1(tmp_path / "in", longitudes, latitudes)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    assert set(item["assets"]) == {"S1_radiance_an", "S1_radiance_ao", "S8_BT_in"}
    cells = {key: asset["proj:transform"][0] for key, asset in item["assets"].items()}
    assert cells["S1_radiance_an"] < cells["S8_BT_in"]
    for key, far in (("S1_radiance_an", 0.55), ("S1_radiance_ao", 0.55), ("S8_BT_in", 1)):
        values, there, x, y = pixels(item, key)
        off = np.abs(values - swaths.field(x, y))[there].max()
        assert off <= far * swaths.steepest() * half_diagonal(longitudes, latitudes) + 0.01
    _, nadir, x, _ = pixels(item, "S1_radiance_an")
    _, oblique, x_oblique, _ = pixels(item, "S1_radiance_ao")
    assert np.ptp(x_oblique[oblique]) < np.ptp(x[nadir])


def test_a_grid_without_its_positions_is_not_placed_by_those_of_another(tmp_path: Path):
    product = slstr_level_1(tmp_path / "in", *small())
    (product / "geodetic_an.nc").unlink()

    with pytest.raises(ArgumentInvalid, match=r"geodetic_an\.nc is missing"):
        taken_in(tmp_path / "in", tmp_path / "home")


def test_syn_is_placed_by_its_geolocation_file(tmp_path: Path):
    longitudes, latitudes = small()
    syn_level_2(tmp_path / "in", longitudes, latitudes)

    (item,) = taken_in(tmp_path / "in", tmp_path / "home")

    assert set(item["assets"]) == {"SDR_Oa08", "SDR_S3N", "SYN_flags"}
    for key in ("SDR_Oa08", "SDR_S3N"):
        values, there, x, y = pixels(item, key)
        off = np.abs(values - swaths.field(x, y))[there].max()
        assert off <= swaths.steepest() * half_diagonal(longitudes, latitudes) + 0.02
    flags, there, _, _ = pixels(item, "SYN_flags")
    assert set(np.unique(flags[there]).tolist()) == {0, 1, 2, 3}
