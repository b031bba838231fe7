"""What ingestion sees of an image by opening it once, and what of its damage."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from rasterio.crs import CRS
from tests.storage.files import field, write_tif
from tests.storage.test_headers import FILES, named, written

from terrazzo.errors import SourceUnreadable
from terrazzo.storage.handles import open_dataset
from terrazzo.storage.image_facts import facts_of
from terrazzo.storage.ingest_support import copy_as_cog, look
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.tiff_layout import tiff_layout

if TYPE_CHECKING:
    from pathlib import Path

HEIGHTS = CRS.from_wkt(
    'COMPD_CS["h",' + CRS.from_epsg(32633).to_wkt() + ',VERT_CS["EGM96 height",VERT_DATUM["EGM96 '
    'geoid",2005,AUTHORITY["EPSG","5171"]],UNIT["metre",1],AUTHORITY["EPSG","5773"]]]'
)
KINDS: dict[str, dict[str, Any]] = {
    "big endian": {"ENDIANNESS": "BIG"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "strips": {"tiled": False, "blockxsize": None, "blockysize": 7},
    "heights": {"crs": HEIGHTS},
    "bands apart": {"interleave": "band"},
    "sparse": {"sparse_ok": True},
}


def made(path: Path, kind: str) -> Path:
    options = {key: value for key, value in KINDS[kind].items() if value is not None}
    if kind == "strips":
        options |= {"blockxsize": 70}
    pixels = np.stack([field(90, 70, seed) for seed in range(2)])
    return write_tif(path, pixels * 0 if kind == "sparse" else pixels, overviews=(2, 4), **options)


@pytest.mark.parametrize("name", [*FILES, *KINDS])
def test_one_look_sees_what_opening_every_level_sees(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    asset = named(made(path, name) if name in KINDS else written(path, FILES[name]))

    first, again = look(asset), look(asset, decode=True)

    assert repr(first.header) == repr(RasterReader().header(asset))
    with open_dataset(asset) as dataset:
        assert first.facts == facts_of(dataset)
    assert repr(again) == repr(first)


def test_a_vertical_crs_gives_a_unit(tmp_path: Path) -> None:
    seen = look(named(made(tmp_path / "a.tif", "heights")))

    assert [band.unit for band in seen.facts.bands] == ["metre", "metre"]


@pytest.mark.parametrize("kind", KINDS)
def test_directories_are_those_that_tifffile_finds(kind: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a.tif", kind)

    found = tiff_layout(named(path)).directories

    with tifffile.TiffFile(path) as file:
        pages: list[Any] = list(file.pages)
        assert len(found) == len(pages) == 3
        for mine, page in zip(found, pages, strict=True):
            np.testing.assert_array_equal(mine.offsets, page.dataoffsets)
            np.testing.assert_array_equal(mine.counts, page.databytecounts)
            assert (mine.height, mine.width) == (page.imagelength, page.imagewidth)
            assert mine.compression == page.compression


def test_a_tag_that_points_beyond_the_end_is_told(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", field(300, 300))
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        end = page.tags["TileOffsets"].valueoffset
    cut = tmp_path / "b.tif"
    cut.write_bytes(whole[: end + 10])

    with pytest.raises(SourceUnreadable, match="cut short"):
        tiff_layout(named(cut))


def damaged(path: Path, how: str) -> None:
    """Damage a tile in the middle of a file."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        first, size = page.dataoffsets[2], page.databytecounts[2]
    data = bytearray(path.read_bytes())
    if how == "cut":
        data[first + size // 2 : first + size] = bytes(size - size // 2)
    elif how == "checksum":
        data[first + size - 1] ^= 0x55
    else:
        data[first + 40 : first + 60] = b"\xaa" * 20
    path.write_bytes(data)


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    ("compression", "how"),
    [("deflate", "cut"), ("deflate", "checksum"), ("deflate", "bytes"), ("zstd", "cut"),
     ("lzw", "cut"), ("jpeg", "cut"), ("lerc", "bytes"), ("packbits", "cut")],
)  # fmt: skip
def test_a_copy_finds_the_damage_that_decoding_all_finds(
    tmp_path: Path, compression: str, how: str, tiled: bool
) -> None:
    pixels = (field(300, 300) // 50).astype(np.uint8)
    shape = {"blockxsize": 64, "blockysize": 64} if tiled else {"blockxsize": 300, "blockysize": 16}
    path = write_tif(
        tmp_path / "a.tif", pixels, compress=compression, overviews=(2,), tiled=tiled, **shape
    )
    copy = tmp_path / "copy.tif"
    copy_as_cog(named(path), copy)
    with rasterio.open(path) as source, rasterio.open(copy) as file:
        np.testing.assert_array_equal(file.read(), source.read())
    copy.unlink()

    damaged(path, how)

    with pytest.raises(SourceUnreadable, match=r"damaged|no readable"):
        look(named(path), decode=True)
    with pytest.raises(SourceUnreadable, match=r"damaged|no readable"):
        copy_as_cog(named(path), copy)
    assert [one.name for one in tmp_path.iterdir()] == ["a.tif"]


def test_a_copy_is_what_gdals_driver_writes(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", field(700, 900), nodata=0)
    options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "OVERVIEW_RESAMPLING": "AVERAGE"}

    copy_as_cog(named(path), tmp_path / "ours.tif")
    rasterio.shutil.copy(path, tmp_path / "gdals.tif", driver="COG", **options)

    assert (tmp_path / "ours.tif").read_bytes() == (tmp_path / "gdals.tif").read_bytes()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from terrazzo.errors import OutputFailed
from terrazzo.storage.gate import Gate
from terrazzo.storage.ingest_support import copy_as_cog
folder = Path(sys.argv[1])
name = Gate((folder,)).open_name(str(folder / "a.tif"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 1000, 60_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        copy_as_cog(name, folder / "copy.tif")
    except OutputFailed as error:
        print("refused", sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_is_not_taken_for_a_damaged_source(tmp_path: Path) -> None:
    write_tif(tmp_path / "a.tif", field(600, 600))

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["refused ['a.tif']"] * 3
