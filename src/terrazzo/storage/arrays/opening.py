"""Files of arrays for ingestion: NetCDF, HDF5, Zarr and GRIB, by what they are, as cubes."""

from __future__ import annotations

import os
import stat
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5netcdf
import h5py
import xarray as xr
from scipy.io import netcdf_file

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable, TerrazzoError
from terrazzo.spans import span
from terrazzo.storage.arrays.cf_axes import CfGroup
from terrazzo.storage.arrays.cf_cube import CfCube, cubes_of, has_swath
from terrazzo.storage.arrays.cf_times import covered
from terrazzo.storage.arrays.grib import open_grib
from terrazzo.storage.arrays.hdf5_check import LARGEST_AXIS, refuse_pointers
from terrazzo.storage.arrays.hdfeos import eos_grids
from terrazzo.storage.arrays.types import ArrayFile
from terrazzo.storage.arrays.zarr_store import finest_levels, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from terrazzo.storage.arrays.hdfeos import EosGrid
    from terrazzo.storage.gate import Gate

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_CLASSIC, _CDF5 = (b"CDF\x01", b"CDF\x02"), b"CDF\x05"
_GRIB, _HDF4 = b"GRIB", b"\x0e\x03\x13\x01"
_ZIP: Final = b"PK\x03\x04"
_ABOUT: Final = ("title", "summary", "institution", "keywords")
_EOS: Final = "HDFEOS INFORMATION/StructMetadata.0"
_EOS_GRIDS: Final = "HDFEOS/GRIDS/"
_GRIB_WITHIN: Final = 4096
_SHOWN: Final = 5
_OPENED: Final[Mapping[str, Any]] = {
    "mask_and_scale": False, "decode_times": False, "decode_coords": False, "cache": False,
}  # fmt: skip


def open_arrays(path: Path, gate: Gate, *, crs: str = "") -> ArrayFile:
    """Open a file of arrays, or a Zarr store.

    What it is, is told by its first bytes, not by its name.

    Args:
        path: of a file or a folder.
        gate: decides whether it may be opened.
        crs: of files that state none; empty refuses those.

    Raises:
        AssetForbidden: outside the gate's roots, it points to other files, or is made to exhaust.
        SourceUnreadable: gone, damaged or another format.
        ArgumentInvalid: no variable has a grid, a CRS and times that can be read.
    """
    if path.is_dir():
        return _open_zarr(_real_folder(path, gate), path.stem, crs)
    real = gate.local_path(str(path))
    name = real.stem
    try:
        with real.open("rb") as file:
            start = file.read(_GRIB_WITHIN)
    except OSError as error:
        raise SourceUnreadable(name, "cube", f"gone ({type(error).__name__})") from None
    if start.startswith(_HDF5):
        return _open_hdf5(real, name, crs)
    if start.startswith(_CLASSIC):
        return _open_classic(real, name, crs)
    if start.startswith(_ZIP):
        return _open_zarr(real, name, crs)
    if _GRIB in start:
        return open_grib(real, name)
    if start.startswith(_HDF4):
        raise SourceUnreadable(
            name,
            "cube",
            "it is HDF4, which is not read. Convert it first, for example with `h4toh5` or "
            "`gdal_translate -sds`",
        )
    if start.startswith(_CDF5):
        raise SourceUnreadable(
            name, "cube", "it is NetCDF of the format CDF-5. Convert it first with `nccopy -k nc4`"
        )
    raise SourceUnreadable(name, "cube", "it is no NetCDF, HDF5, Zarr or GRIB file")


def _real_folder(path: Path, gate: Gate) -> Path:
    """Return the real path of a folder inside the gate's roots."""
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in gate.roots):
        raise AssetForbidden(f"{path.name!r} lies outside the folders that may be read here.")
    if not stat.S_ISDIR(real.stat().st_mode):
        raise AssetForbidden(f"{path.name!r} is no folder.")
    return real


def _open_hdf5(path: Path, name: str, crs: str) -> ArrayFile:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            paths = refuse_pointers(file, name)
            eos = _eos_of(file)
            whole = stack.enter_context(h5netcdf.File(file, "r", phony_dims="access"))
        except TerrazzoError:
            raise
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            raise _unreadable(name, error) from None

        def opened(group: str) -> xr.Dataset:
            store = xr.backends.H5NetCDFStore(whole, group=f"/{group}" if group else None)
            return _on_their_own_dimensions(xr.open_dataset(store, **_OPENED))

        return _with_cubes(name, paths, opened, stack, eos, crs)


def _on_their_own_dimensions(data: xr.Dataset) -> xr.Dataset:
    """Put coordinate variables on the dimensions that they name.

    Where arrays without scales lie beside them, h5netcdf takes the made-up dimensions of those.
    """
    strayed = {
        name: xr.Variable((name,), variable.to_numpy(), variable.attrs)
        for name, variable in data.variables.items()
        if variable.shape == (data.sizes.get(name),)
        and str(variable.dims[0]).startswith("phony_dim")
        and variable.size <= LARGEST_AXIS
    }
    return data.drop_vars(strayed).assign_coords(strayed) if strayed else data


def _open_classic(path: Path, name: str, crs: str) -> ArrayFile:
    with ExitStack() as stack:

        def opened(group: str) -> xr.Dataset:  # noqa: ARG001 - the format has one
            # Of a damaged file scipy leaves the file open that it opened itself.
            with path.open("rb") as file:
                netcdf_file(file, mmap=True).close()
            return xr.open_dataset(path, engine="scipy", **_OPENED)

        return _with_cubes(name, [""], opened, stack, {}, crs)


def _open_zarr(path: Path, name: str, crs: str) -> ArrayFile:
    store, nodes = open_store(path, name)
    with ExitStack() as stack:
        stack.callback(store.close)
        coarser = finest_levels(nodes)
        paths = sorted(
            {
                node.path.rpartition("/")[0]
                for node in nodes
                if node.is_array and node.dimensions > 1
            }
        )
        known = {node.path for node in nodes if not node.is_array}

        def opened(group: str) -> xr.Dataset:
            if group not in known:
                return xr.Dataset()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return xr.open_dataset(
                    store,  # type: ignore[arg-type]  # it takes stores of zarr
                    engine="zarr",
                    group=group or None,
                    consolidated=False,
                    **_OPENED,
                )

        finest = [one for one in paths if not _within(one, coarser)]
        return _with_cubes(name, finest, opened, stack, {}, crs)


def _within(path: str, groups: set[str]) -> bool:
    return any(path == group or path.startswith(f"{group}/") for group in groups)


def _with_cubes(
    name: str,
    paths: Sequence[str],
    opened: Callable[[str], xr.Dataset],
    stack: ExitStack,
    eos: Mapping[str, EosGrid],
    crs: str,
) -> ArrayFile:
    """Make the cubes of groups; what is open is closed with the file, or if it fails."""
    known: dict[str, xr.Dataset] = {}

    def dataset(path: str) -> xr.Dataset:
        if path not in known:
            try:
                with span("open"):
                    known[path] = opened(path)
            except Exception as error:  # noqa: BLE001 - libraries raise what they like
                raise _unreadable(name, error) from None
            stack.callback(known[path].close)
        return known[path]

    found = ArrayFile((), stack.close)
    problems: dict[str, ArgumentInvalid] = {}
    cubes: list[CfCube] = []
    attributes: Mapping[str, Any] = {}
    for path in paths:
        group = replace(_group(name, path, dataset, eos), crs=crs)
        attributes = attributes or group.attributes
        made, missed = cubes_of(group)
        cubes += made
        problems |= {f"{path}/{one}" if path else one: why for one, why in missed.items()}
        found.is_swath |= has_swath(group.data)
    found.cubes = tuple(cubes)
    found.is_swath &= not cubes
    attributes = attributes or dataset("").attrs
    found.covered = covered(attributes)
    found.about = {
        key: text
        for key in _ABOUT
        if isinstance(told := attributes.get(key), str) and (text := " ".join(told.split()))
    }
    found.notes = _notes(cubes, problems)
    if not cubes and not found.is_swath:
        raise next(iter(problems.values()), None) or ArgumentInvalid(
            f"{name!r} has no variable of numbers over y and x."
        )
    found.close = stack.pop_all().close
    return found


def _notes(cubes: Sequence[CfCube], problems: Mapping[str, ArgumentInvalid]) -> tuple[str, ...]:
    """Say which variables are left out, and which cubes were put on an even grid."""
    found = [f"variable {one!r} is left out: {why}" for one, why in problems.items()]
    if len(found) > _SHOWN:
        found[_SHOWN:] = [f"and {len(found) - _SHOWN} more variables"]
    if any(cube.is_resampled for cube in cubes):
        found.append("its coordinates are not quite even; pixels are the nearest on an even grid")
    return tuple(found)


def _group(
    name: str, path: str, dataset: Callable[[str], xr.Dataset], eos: Mapping[str, EosGrid]
) -> CfGroup:
    """Return a group with the coordinates and attributes of the groups above it."""
    data = dataset(path)
    attributes = dict(data.attrs)
    parts = path.split("/") if path else []
    for count in range(len(parts) - 1, -1, -1):
        above = dataset("/".join(parts[:count]))
        attributes = {**above.attrs, **attributes}
        inherited = {
            key: variable
            for key, variable in above.variables.items()
            if key not in data.variables
            and all(d in data.sizes and data.sizes[d] == above.sizes[d] for d in variable.dims)
            and len(variable.dims) <= 1
        }
        data = data.assign_coords(inherited) if inherited else data
    grid = next((g for key, g in eos.items() if f"{path}/".startswith(f"{_EOS_GRIDS}{key}/")), None)
    return CfGroup(name, path, data, attributes, grid)


def _eos_of(file: h5py.File) -> dict[str, EosGrid]:
    if _EOS not in file or not isinstance(file[_EOS], h5py.Dataset):
        return {}
    text = file[_EOS][()]
    return eos_grids(text.decode("ascii", "replace") if isinstance(text, bytes) else str(text))


def _unreadable(name: str, error: Exception) -> SourceUnreadable:
    if isinstance(error, SourceUnreadable):
        return error
    return SourceUnreadable(
        name, "cube", f"gone, damaged or another format ({type(error).__name__})"
    )
