"""The check of HDF5 files: nothing in them may point out of them, and nothing may be without end.

External links, external storage and virtual datasets make a harmless file read any other one.
Files that have them are refused, by a walk that follows no link and visits nothing twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import h5py

from terrazzo.errors import AssetForbidden, SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_OBJECTS: Final = 100_000
"""Groups and datasets that a file may have."""
DEEPEST: Final = 64
"""Groups within groups."""
LARGEST_CHUNK: Final = 2**30
"""Bytes of a chunk, which is decoded as a whole."""
LARGEST_AXIS: Final = 2**24
"""Coordinates of an axis, which are read as a whole."""


def refuse_pointers(file: h5py.File, name: str) -> list[str]:
    """Walk an HDF5 file without following links, and refuse what points out of it.

    Call it with the very file that is read then, so that nobody can change it in between.

    Args:
        file: an open file.
        name: what messages call it.

    Returns:
        Paths of the groups that hold datasets of two dimensions or more, without slashes around
        them; empty for the root.

    Raises:
        AssetForbidden: it links to other files, keeps numbers in them, or is made to exhaust.
        SourceUnreadable: damaged, or compressed by what is not installed.
    """
    groups: list[str] = []
    seen: set[Any] = {_identity(file, "/")}
    waiting: list[tuple[h5py.Group, str, int]] = [(file, "", 0)]
    count = 0
    while waiting:
        group, path, depth = waiting.pop()
        if depth > DEEPEST:
            raise AssetForbidden(f"{name!r} has groups more than {DEEPEST} deep.")
        flat = False
        for key, link in _links(group, name):
            count += 1
            if count > MOST_OBJECTS:
                raise AssetForbidden(f"{name!r} has more than {MOST_OBJECTS:,} objects.")
            if not isinstance(link, h5py.HardLink):
                continue
            identity, thing = _identity(group, key), group[key]
            if identity in seen:
                _refuse_second_name(thing, name)
                continue
            seen.add(identity)
            if isinstance(thing, h5py.Group):
                waiting.append((thing, f"{path}/{key}" if path else key, depth + 1))
            elif isinstance(thing, h5py.Dataset):
                _check(thing, name)
                flat |= thing.shape is not None and len(thing.shape) > 1
        if flat:
            groups.append(path)
    return sorted(groups)


def _links(group: h5py.Group, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the links of a group: hard ones, and soft ones, which stay within the file."""
    for key in group:
        try:
            link = group.get(key, getlink=True)
        except TypeError:
            link = None
        if not isinstance(link, h5py.HardLink | h5py.SoftLink):
            # External links; or of a kind that somebody's code would have to follow.
            raise AssetForbidden(f"{name!r} links to other files; that is not opened.")
        yield key, link


def _identity(group: h5py.Group, key: str) -> Any:
    """Return what is equal for two names of one object."""
    info = h5py.h5o.get_info(group.id, key.encode())
    return info.fileno, info.addr


def _refuse_second_name(thing: Any, name: str) -> None:
    """Refuse a group that has two names: it may be within itself, and readers would never end."""
    if isinstance(thing, h5py.Group):
        raise AssetForbidden(f"{name!r} has a group with two names, which may be within itself.")


def _check(dataset: h5py.Dataset, name: str) -> None:
    if dataset.is_virtual or dataset.external:
        raise AssetForbidden(f"{name!r} keeps its numbers in other files; that is not opened.")
    if dataset.chunks and dataset.dtype.itemsize * math.prod(dataset.chunks) > LARGEST_CHUNK:
        raise AssetForbidden(
            f"{name!r} has chunks of {dataset.chunks} numbers, which is more than is decoded at "
            "once. Repack it, for example with h5repack."
        )
    if len(dataset.shape or ()) == 1 and dataset.is_scale and dataset.size > LARGEST_AXIS:
        raise AssetForbidden(f"{name!r} has an axis of {dataset.size:,} coordinates.")
    made = dataset.id.get_create_plist()
    for index in range(made.get_nfilters()):
        code, _, _, told = made.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            shown = bytes(told).rstrip(b"\0").decode("ascii", "replace") or "unnamed"
            raise SourceUnreadable(
                name,
                dataset.name.rsplit("/", 1)[-1],
                f"it is compressed by filter {code} ({shown}), which is not installed. Repack it, "
                "for example with h5repack -f GZIP=4",
            )
