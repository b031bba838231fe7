"""Files with which strangers try to have others opened, or to exhaust whoever reads them."""

from __future__ import annotations

import io
import json
import sqlite3
import stat
import struct
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from affine import Affine
from tests.attacks.strings import VRT, WMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EDGE = 8
PLACE = Affine(10, 0, 5e5, 0, -10, 5e6)


def tif(path: Path, edge: int = EDGE, **more: Any) -> bytes:
    """Return an image in which every pixel has its own number."""
    with rasterio.open(
        path, "w", driver="GTiff", width=edge, height=edge, count=1, dtype="uint16",
        crs="EPSG:32633", transform=PLACE, **more,
    ) as file:  # fmt: skip
        file.write(np.arange(edge * edge, dtype=np.uint16).reshape(1, edge, edge))
    return path.read_bytes()


def vrt(canary: Path, folder: Path) -> bytes:
    del folder
    return VRT.format(canary=canary).encode()


def wms(canary: Path, folder: Path) -> bytes:
    del canary, folder
    return WMS.format(bell="127.0.0.1:9").encode()


def huge_tif(canary: Path, folder: Path) -> bytes:
    """Return a small file whose header says that it has 10^6 x 10^6 pixels."""
    del canary
    path = folder / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=10**6, height=10**6, count=1, dtype="uint8",
        crs="EPSG:32633", transform=PLACE, tiled=True, blockxsize=16384, blockysize=16384,
        sparse_ok=True, compress="deflate", BIGTIFF="YES",
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 1_000_000
    return path.read_bytes()


def huge_block_tif(canary: Path, folder: Path) -> bytes:
    """Return a file of one internal tile of 4 GB."""
    del canary
    path = folder / "block.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=16384, height=16384, count=1, dtype="float64",
        crs="EPSG:32633", transform=PLACE, tiled=True, blockxsize=16384, blockysize=16384,
        sparse_ok=True, compress="deflate",
    ):  # fmt: skip
        pass
    return path.read_bytes()


def cut_tif(canary: Path, folder: Path) -> bytes:
    del canary
    return tif(folder / "whole.tif", 256)[:9000]


def _hdf5(folder: Path, fill: Callable[[h5py.File], None]) -> bytes:
    path = folder / "made.nc"
    with h5py.File(path, "w") as file:
        for name in ("y", "x"):
            values = np.arange(EDGE, dtype=np.float64) * (10 if name == "x" else -10)
            file.create_dataset(name, data=values).make_scale(name)
        fill(file)
        for dataset in file.values():
            if isinstance(dataset, h5py.Dataset) and dataset.ndim == 2:
                for number, name in enumerate(("y", "x")):
                    dataset.dims[number].attach_scale(file[name])
    return path.read_bytes()


def external_link(canary: Path, folder: Path) -> bytes:
    def fill(file: h5py.File) -> None:
        file["values"] = h5py.ExternalLink(str(canary.with_suffix(".nc")), "/values")

    path = folder / "made.nc"
    with h5py.File(path, "w") as file:
        fill(file)
    return path.read_bytes()


def external_storage(canary: Path, folder: Path) -> bytes:
    secret = canary.parent / "secret.txt"

    def fill(file: h5py.File) -> None:
        file.create_dataset("values", (2, 8), "u1", external=[(str(secret), 0, 16)])

    path = folder / "made.nc"
    with h5py.File(path, "w") as file:
        fill(file)
    return path.read_bytes()


def virtual_dataset(canary: Path, folder: Path) -> bytes:
    layout = h5py.VirtualLayout((EDGE, EDGE), "u2")
    layout[:] = h5py.VirtualSource(str(canary.with_suffix(".nc")), "values", (EDGE, EDGE))
    return _hdf5(folder, lambda file: file.create_virtual_dataset("values", layout))


def nested_pointer(canary: Path, folder: Path) -> bytes:
    """Return a file whose external link hides in a group."""

    def fill(file: h5py.File) -> None:
        file.create_dataset("values", data=np.ones((EDGE, EDGE)))
        file.create_group("a/b/c")["far"] = h5py.ExternalLink(str(canary), "/")

    return _hdf5(folder, fill)


def huge_hdf5(canary: Path, folder: Path) -> bytes:
    """Return a file whose variable has 10^12 numbers, none of them stored."""
    del canary

    def fill(file: h5py.File) -> None:
        file.create_dataset("values", (10**6, 10**6), "f8", chunks=(1000, 1000))

    path = folder / "made.nc"
    with h5py.File(path, "w") as file:
        fill(file)
    return path.read_bytes()


def classic_netcdf_of_many(canary: Path, folder: Path) -> bytes:
    """Return a header that says that 2^31 dimensions follow."""
    del canary, folder
    return b"CDF\x01" + struct.pack(">III", 0, 10, 2**31 - 1) + b"\0" * 64


def kerchunk(canary: Path, folder: Path) -> bytes:
    del folder
    return json.dumps({"version": 1, "refs": {"values/0.0": [str(canary), 0, 128]}}).encode()


def zipped(*entries: tuple[str, bytes], mode: int = 0o100644, **more: Any) -> bytes:
    """Return an archive of entries, whatever they are called."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.filename = name  # which is cut at NUL otherwise
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def zip_of(name: str) -> Callable[[Path, Path], bytes]:
    return lambda canary, folder: zipped((name.format(folder=canary.parent), tif(folder / "a.tif")))


def zip_of_a_link(canary: Path, folder: Path) -> bytes:
    del folder
    return zipped(("a_20200101.tif", str(canary).encode()), mode=stat.S_IFLNK | 0o777)


def zip_of_twins(canary: Path, folder: Path) -> bytes:
    del canary
    image = tif(folder / "a.tif")
    return zipped(("one/a_20200101.tif", image), ("two/A_20200101.TIF", image))


def zip_bomb(canary: Path, folder: Path) -> bytes:
    del canary, folder
    return zipped(("a_20200101.tif", bytes(60_000_000)))


def zip_that_lies(canary: Path, folder: Path) -> bytes:
    """Return an archive whose entry says that it is shorter than it is."""
    del canary
    content = zipped(("a_20200101.tif", tif(folder / "a.tif", 128)))
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", 100) + content[at + 4 :]


def zip_of_many(canary: Path, folder: Path) -> bytes:
    del canary, folder
    return zipped(*((f"{number}.tif", b"") for number in range(1500)))


def zip_of_a_zip(canary: Path, folder: Path) -> bytes:
    inner = zipped(("a_20200101.tif", tif(folder / "a.tif")))
    del canary
    return zipped(("inner.zip", inner))


def zip_of_a_vrt(canary: Path, folder: Path) -> bytes:
    return zipped(("a_20200101.tif", vrt(canary, folder)))


def zip_with_a_vrt_beside(canary: Path, folder: Path) -> bytes:
    image = tif(folder / "a.tif")
    return zipped(("a_20200101.tif", image), ("b_20200101.vrt", vrt(canary, folder)))


def _package(folder: Path, *statements: str) -> bytes:
    path = folder / "made.gpkg"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA application_id = 0x47504B47; CREATE TABLE a (b);")
        for statement in statements:
            db.execute(statement)
        db.commit()
    return path.read_bytes()


def package_with_a_view(canary: Path, folder: Path) -> bytes:
    del canary
    return _package(folder, "CREATE VIEW v AS SELECT load_extension('/tmp/x.so')")


def package_with_a_virtual_table(canary: Path, folder: Path) -> bytes:
    content = _package(folder, "CREATE TABLE evil (x)")
    path = folder / "made.gpkg"
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = 1")
        told = f"CREATE VIRTUAL TABLE evil USING VirtualOGR('{canary}')"
        db.execute("UPDATE sqlite_master SET sql = ?, rootpage = 0 WHERE name = 'evil'", [told])
        db.commit()
    return path.read_bytes()


def parquet_bomb(canary: Path, folder: Path) -> bytes:
    """Return a small file in which one long text belongs to very many rows."""
    del canary
    path = folder / "made.parquet"
    rows = 200_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * 100_000])
    pq.write_table(pa.table({"geometry": pa.array([b""] * rows), "text": text}), path)
    assert path.stat().st_size < 1_000_000
    return path.read_bytes()


def deep_geojson(canary: Path, folder: Path) -> bytes:
    del canary, folder
    return b'{"type":"Polygon","coordinates":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def geojson_of_laughs(canary: Path, folder: Path) -> bytes:
    """Return what XML with entities within entities would be, under the name of GeoJSON."""
    del canary, folder
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE kml [<!ENTITY l0 "ha">{entities}]><kml><name>&l9;</name></kml>'.encode()


def infinite_geojson(canary: Path, folder: Path) -> bytes:
    del canary, folder
    return b'{"type":"Point","coordinates":[1e999, NaN]}'


def geojson_crs(canary: Path, folder: Path) -> bytes:
    """Return GeoJSON whose CRS is a name that a library might fetch or open."""
    del folder
    crs = {"type": "name", "properties": {"name": f"+init={canary}:1 +nadgrids={canary}"}}
    return json.dumps({"type": "Point", "coordinates": [1, 2], "crs": crs}).encode()


IMAGES: dict[str, tuple[str, str, Callable[[Path, Path], bytes]]] = {
    "a VRT": ("a_20200101", "GTiff", vrt),
    "a WMS": ("a_20200101", "GTiff", wms),
    "a header of 10^6 x 10^6": ("a_20200101.tif", "GTiff", huge_tif),
    "an internal tile of 2 GB": ("a_20200101.tif", "GTiff", huge_block_tif),
    "an image that is cut short": ("a_20200101.tif", "GTiff", cut_tif),
    "an external link": ("a_20200101.nc", "netCDF", external_link),
    "external storage": ("a_20200101.nc", "netCDF", external_storage),
    "a virtual dataset": ("a_20200101.nc", "netCDF", virtual_dataset),
    "a pointer in a group": ("a_20200101.nc", "netCDF", nested_pointer),
    "a variable of 10^12": ("a_20200101.nc", "netCDF", huge_hdf5),
    "a NetCDF of very many dimensions": ("a_20200101.nc", "netCDF", classic_netcdf_of_many),
    "kerchunk references": ("a_20200101.json", "netCDF", kerchunk),
    "zip slip": ("a.zip", "GTiff", zip_of("../../evil_20200101.tif")),
    "zip slip, absolute": ("a.zip", "GTiff", zip_of("{folder}/evil_20200101.tif")),
    "zip slip, backslash": ("a.zip", "GTiff", zip_of("..\\..\\evil_20200101.tif")),
    "zip slip, drive": ("a.zip", "GTiff", zip_of("C:/evil_20200101.tif")),
    "zip with NUL": ("a.zip", "GTiff", zip_of("a_20200101.tif\0.txt")),
    "zip of a link": ("a.zip", "GTiff", zip_of_a_link),
    "zip of twins": ("a.zip", "GTiff", zip_of_twins),
    "zip bomb": ("a.zip", "GTiff", zip_bomb),
    "zip that lies": ("a.zip", "GTiff", zip_that_lies),
    "zip of many": ("a.zip", "GTiff", zip_of_many),
    "zip of a zip": ("a.zip", "GTiff", zip_of_a_zip),
    "zip of a VRT": ("a.zip", "GTiff", zip_of_a_vrt),
    "zip with a VRT": ("a.zip", "GTiff", zip_with_a_vrt_beside),
}
"""Name of the file, format that it is loaded as, and what makes it."""
GEOMETRIES: dict[str, tuple[str, str, Callable[[Path, Path], bytes]]] = {
    "a view": ("a.gpkg", "GPKG", package_with_a_view),
    "a virtual table": ("a.gpkg", "GPKG", package_with_a_virtual_table),
    "a Parquet bomb": ("a.parquet", "Parquet", parquet_bomb),
    "deep GeoJSON": ("a.geojson", "GeoJSON", deep_geojson),
    "billion laughs": ("a", "GeoJSON", geojson_of_laughs),
    "infinite coordinates": ("a.geojson", "GeoJSON", infinite_geojson),
    "a CRS that names a file": ("a.geojson", "GeoJSON", geojson_crs),
    "an OGR VRT": ("a", "GeoJSON", vrt),
    "a zip of no shapefile": ("a.zip", "ESRI Shapefile", zip_of("a.tif")),
}
