"""Damaged, odd and hostile files of arrays: refused with a reason, and nothing else happens."""

from __future__ import annotations

import json
import resource
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable
from terrazzo.storage.arrays import hdf5_check
from terrazzo.storage.arrays.opening import open_arrays
from terrazzo.storage.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFUSED = (AssetForbidden, SourceUnreadable, ArgumentInvalid)


def data(height: int = 4, width: int = 3) -> xr.Dataset:
    values = np.random.default_rng(0).random((2, height, width)).astype("float32")
    return xr.Dataset(
        {"v": (("time", "lat", "lon"), values)},
        {"time": np.array(["2020-01-01", "2020-01-02"], "M8[ns]"),
         "lat": ("lat", 50 - 0.1 * np.arange(height), {"units": "degrees_north"}),
         "lon": ("lon", 5 + 0.1 * np.arange(width), {"units": "degrees_east"})},
    )  # fmt: skip


def looked_at(path: Path) -> list[np.ndarray[Any, Any]]:
    """Open a file and read all of it."""
    with open_arrays(path, Gate((path.parent,))) as file:
        return [
            cube.read(band.name, index)
            for cube in file.cubes
            for band in cube.bands
            for index in range(max(len(cube.times), 1))
        ]


def store(folder: Path, version: int = 3) -> Path:
    path = folder / "a.zarr"
    data().to_zarr(path, zarr_format=version, consolidated=False)
    return path


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))


# HDF5 that points elsewhere


def link(file: h5py.File, there: Path) -> None:
    file["d"] = h5py.ExternalLink(str(there), "/d")


def deep_link(file: h5py.File, there: Path) -> None:
    file.create_group("a/b/c")["d"] = h5py.ExternalLink(str(there), "/d")


def soft_over_external(file: h5py.File, there: Path) -> None:
    file["hidden"] = h5py.ExternalLink(str(there), "/")
    file["d"] = h5py.SoftLink("/hidden/d")


def storage(file: h5py.File, there: Path) -> None:
    file.create_dataset("d", (4, 5), "u1", external=[(str(there), 0, 20)])


def virtual(file: h5py.File, there: Path) -> None:
    layout = h5py.VirtualLayout((20,), "i8")
    layout[:] = h5py.VirtualSource(str(there), "d", (20,))
    file.create_virtual_dataset("d", layout)


def behind_a_cycle(file: h5py.File, there: Path) -> None:
    group = file.create_group("a")
    group["again"] = file["/"]
    group.create_group("b")["up"] = group
    group["b/d"] = h5py.ExternalLink(str(there), "/d")


def too_deep(file: h5py.File, there: Path) -> None:
    del there
    file.create_group("/".join(["g"] * 100))


def too_many(file: h5py.File, there: Path) -> None:
    del there
    group = file.create_group("many")
    file["one"] = 1
    for index in range(1001):
        group[f"{index}"] = h5py.SoftLink("/one")


def within_itself(file: h5py.File, there: Path) -> None:
    del there
    file.create_group("a")["again"] = file["/"]


def endless_axis(file: h5py.File, there: Path) -> None:
    del there
    file.create_dataset("x", (10**12,), "f8", chunks=(1000,)).make_scale("x")


def giant_chunk(file: h5py.File, there: Path) -> None:
    del there
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((20_000, 20_000))
    space = h5py.h5s.create_simple((20_000, 20_000))
    h5py.h5d.create(file.id, b"d", h5py.h5t.IEEE_F64LE, space, made)


@pytest.mark.parametrize(
    "make",
    [link, deep_link, soft_over_external, storage, virtual, behind_a_cycle, within_itself, too_deep,
     too_many, giant_chunk, endless_axis],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_hdf5_that_leads_away_or_exhausts_is_forbidden(
    tmp_path: Path, make: Callable[[h5py.File, Path], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hdf5_check, "MOST_OBJECTS", 1000)
    root = tmp_path / "root"
    root.mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["d"] = np.arange(20)
    with h5py.File(root / "a.h5", "w") as file:
        make(file, tmp_path / "secret.h5")

    with pytest.raises(AssetForbidden) as refused:
        looked_at(root / "a.h5")

    assert str(tmp_path) not in str(refused.value)


def test_links_inside_of_a_file_do_no_harm(tmp_path: Path):
    path = tmp_path / "a.nc"
    data().to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "r+") as file:
        group = file.create_group("more")
        group["v"] = file["v"]
        group["soft"] = h5py.SoftLink("/v")
        group["nowhere"] = h5py.SoftLink("/gone")
        file["reference"] = np.array([file["v"].ref], h5py.ref_dtype)
        file["region"] = np.array([file["v"].regionref[0]], h5py.regionref_dtype)
        file["compound"] = np.zeros((2, 2), [("a", "f4"), ("b", "i2")])

    (first, _) = looked_at(path)
    with open_arrays(path, Gate((tmp_path,))) as opened:
        dates = [moment.start.day for moment in opened.cubes[0].times]

    assert dates == [1, 2]
    np.testing.assert_array_equal(first, data()["v"][0])


def test_a_filter_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.nc"
    data().to_netcdf(path, engine="h5netcdf", encoding={"v": {"zlib": True}})
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code != h5py.h5z.FILTER_DEFLATE)

    with pytest.raises(SourceUnreadable, match=r"filter 1 \(deflate\).*h5repack"):
        looked_at(path)


# Zarr


@pytest.mark.parametrize(
    "edit",
    [
        lambda told: told.update(storage_transformers=[{"name": "x"}]),
        lambda told: told["codecs"].append({"name": "numcodecs.pickle"}),
        lambda told: told["codecs"].append({"name": "os.system"}),
        lambda told: told["codecs"].append("numcodecs.json2"),
        lambda told: told.update(
            codecs=[{"name": "sharding_indexed", "configuration": {
                "chunk_shape": [1, 4, 3], "codecs": [{"name": "evil"}], "index_codecs": []}}]
        ),
        lambda told: told.update(data_type="object"),
        lambda told: told.update(data_type={"name": "struct", "configuration": {}}),
        lambda told: told["chunk_grid"].update(name="rectilinear"),
        lambda told: told.update(
            shape=[10**6] * 3,
            chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10**4] * 3}},
        ),
    ],
)  # fmt: skip
def test_zarr_3_that_runs_code_or_exhausts_is_forbidden(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object]
):
    path = store(tmp_path)
    change(path / "v/zarr.json", edit)

    with pytest.raises(AssetForbidden):
        looked_at(path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda told: told.update(dtype="|O", filters=[{"id": "pickle"}]),
        lambda told: told.update(dtype="|O", filters=None),
        lambda told: told.update(filters=[{"id": "json2"}]),
        lambda told: told.update(compressor={"id": "evil"}),
        lambda told: told.update(shape=[10**12], chunks=[10**12]),
    ],
)
def test_zarr_2_that_runs_code_or_exhausts_is_forbidden(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object]
):
    path = store(tmp_path, 2)
    change(path / "v/.zarray", edit)

    with pytest.raises(AssetForbidden):
        looked_at(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"node_type": "array"}',
             '{"node_type": "array", "shape": [-1], "codecs": [], "data_type": "int8"}',
             "\0", '{"zarr_format": 3, "node_type": "group"']
)  # fmt: skip
def test_broken_metadata_are_no_store(tmp_path: Path, text: str):
    path = store(tmp_path)
    (path / "v/zarr.json").write_text(text)

    with pytest.raises(REFUSED):
        looked_at(path)


@pytest.mark.parametrize("where", ["c", "c/0", "c/0/0/0", "zarr.json"])
def test_links_out_of_a_store_are_not_followed(tmp_path: Path, where: str):
    root = tmp_path / "root"
    root.mkdir()
    path = store(root)
    inside = path / "v" / where
    outside = tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)

    with pytest.raises(REFUSED) as refused:
        looked_at(path)

    assert str(tmp_path) not in str(refused.value)


def test_consolidated_metadata_are_not_believed(tmp_path: Path):
    """They may name codecs that the metadata of the arrays, which are checked, do not."""
    path = tmp_path / "a.zarr"
    data().to_zarr(path, zarr_format=2, consolidated=True)
    change(
        path / ".zmetadata",
        lambda told: told["metadata"]["v/.zarray"].update(dtype="|O", filters=[{"id": "pickle"}]),
    )

    found = looked_at(path)

    np.testing.assert_array_equal(found[0], data()["v"][0])


def test_references_are_no_store(tmp_path: Path):
    """Kerchunk's references name other files as chunks."""
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    told = {"version": 1, "refs": {"v/0.0": ["file:///etc/passwd", 0, 100]}}
    (path / ".zmetadata").write_text(json.dumps(told))
    (path / "refs.json").write_text(json.dumps(told))

    with pytest.raises(REFUSED):
        looked_at(path)


def test_a_store_outside_of_the_roots_is_forbidden(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.zarr").symlink_to(store(tmp_path))

    with pytest.raises(AssetForbidden) as refused:
        open_arrays(root / "a.zarr", Gate((root,)))

    assert str(tmp_path) not in str(refused.value)


def test_missing_chunks_are_the_fill_value(tmp_path: Path):
    path = tmp_path / "a.zarr"
    data(6, 6).to_zarr(
        path, zarr_format=2, consolidated=False,
        encoding={"v": {"chunks": (1, 3, 3), "_FillValue": np.float32(-1)}},
    )  # fmt: skip
    (path / "v/1.0.1").unlink()

    first, second = looked_at(path)

    np.testing.assert_array_equal(first, data(6, 6)["v"][0])
    np.testing.assert_array_equal(second[:3, 3:], -1)
    np.testing.assert_array_equal(second[3:], data(6, 6)["v"][1, 3:])


def test_sharded_stores_are_read(tmp_path: Path):
    path = tmp_path / "a.zarr"
    whole = data(8, 8)
    encoding = {"v": {"chunks": (1, 2, 2), "shards": (2, 8, 8)}}
    whole.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)

    first, second = looked_at(path)

    np.testing.assert_array_equal([first, second], whole["v"])


def test_a_giant_that_holds_nothing_takes_no_memory(tmp_path: Path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    for name, size, units in (("lat", 10**6, "north"), ("lon", 10**6, "east")):
        axis = root.create_array(
            name, shape=(size,), dtype="f8", dimension_names=(name,),
            attributes={"units": f"degrees_{units}"},
        )  # fmt: skip
        axis[:] = np.linspace(1, 0, size) if name == "lat" else np.linspace(0, 1, size)
    root.create_array(
        "v", shape=(10**6, 10**6), chunks=(10**3, 10**3), dtype="f4", dimension_names=("lat", "lon")
    )
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for name in ("lat", "lon"):
            axis = file.create_dataset(name, data=np.linspace(1, 0, 10**6))
            axis.attrs["units"] = f"degrees_{'north' if name == 'lat' else 'east'}"
            axis.make_scale(name)
        giant = file.create_dataset("v", (10**6, 10**6), "f4", chunks=(100, 100))
        giant.dims[0].attach_scale(file["lat"])
        giant.dims[1].attach_scale(file["lon"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for name in ("a.zarr", "b.h5"):
        with pytest.raises(ArgumentInvalid, match="1,000,000 x 1,000,000"):
            looked_at(tmp_path / name)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.mark.parametrize("size", [10**9, 10**12])
def test_an_axis_without_end_is_not_read(tmp_path: Path, size: int):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    root.create_array("v", shape=(2, 2, size), chunks=(1, 2, 10**6), dtype="i1",
                      dimension_names=("time", "lat", "lon"))  # fmt: skip
    for name, count in (("time", 2), ("lat", 2), ("lon", size)):
        root.create_array(name, shape=(count,), chunks=(min(count, 10**6),), dtype="f8",
                          dimension_names=(name,))  # fmt: skip

    with pytest.raises(REFUSED):
        looked_at(tmp_path / "a.zarr")


def test_names_in_a_zip_cannot_leave_it(tmp_path: Path):
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../outside/zarr.json", '{"zarr_format": 3, "node_type": "group"}')
        packed.writestr("/etc/zarr.json", '{"zarr_format": 3, "node_type": "group"}')

    with pytest.raises(REFUSED):
        looked_at(path)

    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr.zip"]


def test_a_zip_that_is_no_store_says_so(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as packed:
        packed.writestr("readme.txt", "hello")
    (tmp_path / "b.zarr.zip").write_bytes(b"PK\x03\x04 and no more")

    for name in ("a.zarr.zip", "b.zarr.zip"):
        with pytest.raises(SourceUnreadable):
            looked_at(tmp_path / name)


# Damage


def written(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind}"
    if kind == "nc":
        data(64, 64).to_netcdf(path, engine="h5netcdf", encoding={"v": {"zlib": True}})
    elif kind == "cdf":
        data(64, 64).to_netcdf(path, engine="scipy")
    else:
        data(64, 64).to_zarr(folder / "b.zarr", zarr_format=3, consolidated=False)
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted((folder / "b.zarr").rglob("*")):
                if file.is_file():
                    packed.write(file, file.relative_to(folder / "b.zarr"))
    return path


@pytest.mark.parametrize("kind", ["nc", "cdf", "zarr.zip"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.5, 0.9, 0.99])
def test_what_is_cut_short_is_unreadable(tmp_path: Path, kind: str, share: float):
    path = written(tmp_path, kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(REFUSED) as refused:
        looked_at(path)

    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("kind", ["nc", "cdf", "zarr.zip"])
def test_flipped_bytes_are_read_or_refused_and_never_anything_else(tmp_path: Path, kind: str):
    path = written(tmp_path, kind)
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    places = [*range(0, 64, 3), *random.integers(0, len(whole), 30).tolist()]

    for place in places:
        broken = bytearray(whole)
        broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        with suppress(*REFUSED):
            looked_at(path)


@pytest.mark.parametrize("version", [2, 3])
def test_arrays_without_names_of_dimensions_say_so(tmp_path: Path, version: int):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    root.create_array("v", shape=(4, 4), dtype="f4")

    with pytest.raises(SourceUnreadable, match="name its dimensions"):
        looked_at(tmp_path / "a.zarr")
