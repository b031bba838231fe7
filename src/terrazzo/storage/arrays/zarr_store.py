"""Zarr stores of strangers: a folder or a zip of small files, checked before zarr sees it.

Metadata are read once and checked; zarr is given those very bytes. Only codecs that unpack numbers
are let through: others run code of whoever installed them, or unpickle. A link inside of a folder
is never followed, and consolidated metadata, which may say something else, are not used.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from typing_extensions import override
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from terrazzo.errors import AssetForbidden, SourceUnreadable
from terrazzo.storage.arrays.hdf5_check import LARGEST_AXIS, LARGEST_CHUNK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

METADATA: Final = frozenset({"zarr.json", ".zgroup", ".zarray", ".zattrs"})
"""Names of the files that say what a store holds."""
LARGEST_METADATA: Final = 2**26
"""Bytes of the metadata of a store."""
MOST_NODES: Final = 10_000
"""Groups and arrays that a store may have."""
_ARRAY_SIZE: Final = 2**62
_CODECS: Final = frozenset({
    "bytes", "transpose", "gzip", "blosc", "zstd", "crc32c", "sharding_indexed", "vlen-utf8",
})  # fmt: skip
_NUMCODECS: Final = frozenset({
    "blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "shuffle", "delta", "bitround",
    "fixedscaleoffset", "quantize", "packbits", "astype", "crc32", "crc32c", "adler32",
    "fletcher32", "vlen-utf8",
})  # fmt: skip
_ITEM_BYTES: Final = 8


class _Members(Protocol):
    """The small files of a store."""

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes of a file; a start below zero counts from its end; None if not there."""

    def names(self) -> Iterable[str]:
        """Return the names of all files that hold metadata."""

    def size(self, key: str) -> int:
        """Return the bytes of a file."""

    def close(self) -> None:
        """Let go of what is open."""


class _Folder:
    """A folder; nothing in it may be a link."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        parts = key.split("/")
        if not all(part not in {"", ".", ".."} for part in parts):
            return None
        path = self._root.joinpath(*parts)
        if Path(os.path.realpath(path.parent)) != path.parent:
            raise AssetForbidden(f"{self._name!r} holds links, which are not followed.")
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, which follows no link
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                return None
            if stop is None and facts.st_size - max(start, 0) > LARGEST_CHUNK:
                raise OSError("a file of the store is too large to be a chunk")
            file.seek(start if start >= 0 else max(facts.st_size + start, 0))
            return file.read(-1 if stop is None else max(stop - file.tell(), 0))

    def names(self) -> Iterable[str]:
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            with os.scandir(folder) as found:
                entries = list(found)
            for entry in entries:
                if entry.is_symlink():
                    raise AssetForbidden(f"{self._name!r} holds links, which are not followed.")
                if entry.is_dir(follow_symlinks=False):
                    # Chunks of Zarr 3 lie in `c`, those of version 2 in folders of numbers.
                    of_chunks = entry.name == "c" or entry.name.isdigit()
                    if not of_chunks or any(Path(entry.path, name).exists() for name in METADATA):
                        waiting.append(Path(entry.path))
                elif entry.name in METADATA:
                    yield Path(entry.path).relative_to(self._root).as_posix()

    def size(self, key: str) -> int:
        return (self._root / key).stat(follow_symlinks=False).st_size

    def close(self) -> None:
        """Nothing is open."""


class _Zip:
    """A zip file; nothing of it is unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._lock = threading.Lock()

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes | None:
        with self._lock:
            try:
                entry = self._zip.getinfo(key)
            except KeyError:
                return None
            if entry.file_size > LARGEST_CHUNK:
                raise OSError("a file in the zip is too large to be a chunk")
            whole = self._zip.read(entry)
        return whole[start:stop]

    def names(self) -> Iterable[str]:
        return [n for n in self._zip.namelist() if n.rsplit("/", 1)[-1] in METADATA]

    def size(self, key: str) -> int:
        return self._zip.getinfo(key).file_size

    def close(self) -> None:
        self._zip.close()


@dataclass(frozen=True, slots=True)
class Node:
    """A group or an array."""

    path: str
    """Without slashes around it; empty for the root."""
    is_array: bool
    """Whether it is an array."""
    dimensions: int
    """Dimensions of an array; 0 for a group."""
    attributes: Mapping[str, Any]
    """Its attributes."""


class CheckedStore(Store):
    """A store that zarr reads and nobody writes."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, members: _Members, documents: Mapping[str, bytes]) -> None:
        super().__init__(read_only=True)
        self._members, self._documents = members, documents

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    @override
    def __hash__(self) -> int:
        return id(self)

    @override
    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        found = self._bytes(key, byte_range)
        if found is None or prototype is None:
            return None
        return prototype.buffer.from_bytes(found)

    def _bytes(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        name = key.rsplit("/", 1)[-1]
        if name in METADATA or name == ".zmetadata":
            return self._documents.get(key)
        match byte_range:
            case RangeByteRequest(start, end):
                return self._members.read(key, start, end)
            case OffsetByteRequest(offset):
                return self._members.read(key, offset)
            case SuffixByteRequest(suffix):
                return self._members.read(key, -suffix)
        return self._members.read(key)

    @override
    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    @override
    async def exists(self, key: str) -> bool:
        return self._bytes(key, None) is not None

    @override
    async def set(self, key: str, value: Buffer) -> None:
        raise PermissionError(key)

    @override
    async def delete(self, key: str) -> None:
        raise PermissionError(key)

    @override
    async def list(self) -> AsyncIterator[str]:
        for key in self._documents:
            yield key

    @override
    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self._documents:
            if key.startswith(prefix):
                yield key

    @override
    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        inside = {k[len(start) :].split("/")[0] for k in self._documents if k.startswith(start)}
        for name in sorted(inside):
            yield name

    @override
    def close(self) -> None:
        self._members.close()
        super().close()


def open_store(path: Path, name: str) -> tuple[CheckedStore, list[Node]]:
    """Check a store and open it for reading.

    Args:
        path: a folder, or a zip file; its real path.
        name: what messages call it.

    Raises:
        AssetForbidden: it holds links, codecs or types that are not let through, or is made to
            exhaust.
        SourceUnreadable: no Zarr, or damaged.
    """
    try:
        members: _Members = _Folder(path, name) if path.is_dir() else _Zip(path)
        documents = _documents(members, name)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise SourceUnreadable(name, "cube", f"damaged ({type(error).__name__})") from None
    try:
        nodes = [
            _node(key, documents, name) for key in sorted(documents) if not key.endswith(".zattrs")
        ]
    except BaseException:
        members.close()
        raise
    if not nodes:
        raise SourceUnreadable(
            name, "cube", "it has no metadata of Zarr (zarr.json, .zgroup, .zarray)"
        )
    return CheckedStore(members, _without_consolidated(documents)), nodes


def _documents(members: _Members, name: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for key in members.names():
        total += members.size(key)
        if len(found) >= MOST_NODES or total > LARGEST_METADATA:
            raise AssetForbidden(f"{name!r} has more metadata than is read.")
        text = members.read(key)
        if text is not None:
            found[key] = text
    return found


def _without_consolidated(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave copies of other nodes' metadata out, which were not checked."""
    found = dict(documents)
    for key, text in documents.items():
        if key.rsplit("/", 1)[-1] == "zarr.json" and b"consolidated_metadata" in text:
            told = json.loads(text)
            told.pop("consolidated_metadata", None)
            found[key] = json.dumps(told).encode()
    return found


def _node(key: str, documents: Mapping[str, bytes], name: str) -> Node:
    """Check the metadata of one node."""
    path, _, kind = key.rpartition("/")
    told = _json(documents[key], key, name)
    attributes = told.get("attributes", {})
    if kind != "zarr.json":
        beside = f"{path}/.zattrs" if path else ".zattrs"
        attributes = _json(documents[beside], beside, name) if beside in documents else {}
    if not isinstance(attributes, dict):
        raise _damaged(name, path, "its attributes are no object")
    is_array = kind == ".zarray" or told.get("node_type") == "array"
    if not is_array:
        return Node(path, is_array=False, dimensions=0, attributes=attributes)
    if kind == ".zarray":
        _check_v2(told, name)
        chunks = told.get("chunks")
    else:
        chunks = _check_v3(told, name)
    shape = _checked_shape(told.get("shape"), chunks, told, name, path)
    own = told.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS")
    if shape and not own and not any("nczarr" in str(key).lower() for key in (*told, *attributes)):
        raise _damaged(
            name, path, "it does not name its dimensions. Write it with xarray, or add "
            "`dimension_names` (Zarr 3) or `_ARRAY_DIMENSIONS` (Zarr 2)",
        )  # fmt: skip
    if own == [path.rsplit("/", 1)[-1]] and shape[0] > LARGEST_AXIS:
        raise AssetForbidden(f"{name!r} has an axis of {shape[0]:,} coordinates.")
    return Node(path, is_array=True, dimensions=len(shape), attributes=attributes)


def _json(text: bytes, key: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, key, f"{key} is no JSON ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise _damaged(name, key, f"{key} is no JSON object")
    return found


def _damaged(name: str, path: str, reason: str) -> SourceUnreadable:
    return SourceUnreadable(name, path or "cube", reason)


def _checked_shape(
    shape: Any, chunks: Any, told: Mapping[str, Any], name: str, path: str
) -> list[int]:
    """Return a shape that can be, in chunks that can be decoded."""
    for sizes in (shape, chunks):
        if not isinstance(sizes, list) or not all(type(s) is int and s >= 0 for s in sizes):
            raise _damaged(name, path, "its shape or its chunks are no list of sizes")
    if len(shape) != len(chunks) or math.prod(shape) > _ARRAY_SIZE:
        raise _damaged(name, path, f"it declares the shape {shape} in chunks of {chunks}")
    if math.prod(chunks) * _item_bytes(told) > LARGEST_CHUNK:
        raise AssetForbidden(
            f"{name!r} has chunks of {tuple(chunks)} numbers, which is more than is decoded at "
            "once. Write it again with smaller chunks."
        )
    return list(shape)


def _item_bytes(told: Mapping[str, Any]) -> int:
    """Return the bytes of a number, at least roughly."""
    kind = told.get("dtype", told.get("data_type"))
    digits = "".join(c for c in str(kind) if c.isdigit()) if isinstance(kind, str) else ""
    if "dtype" in told:
        return max(int(digits or _ITEM_BYTES), 1)
    return max(int(digits or 64) // 8, 1)


def _check_v2(told: Mapping[str, Any], name: str) -> None:
    codecs = [told.get("compressor"), *(told.get("filters") or ())]
    names = [one.get("id") if isinstance(one, dict) else one for one in codecs if one is not None]
    for codec in names:
        if codec not in _NUMCODECS:
            raise _refused(name, codec)
    kind = told.get("dtype")
    if not isinstance(kind, str) or (kind.endswith("O") and "vlen-utf8" not in names):
        raise _refused_type(name, kind)


def _check_v3(told: Mapping[str, Any], name: str) -> Any:
    """Check an array's codecs and type; return its chunks."""
    if told.get("storage_transformers"):
        raise _refused(name, "storage_transformers")
    kind = told.get("data_type")
    text = kind if isinstance(kind, str) else ""
    if isinstance(kind, dict):
        text = str(kind.get("name", ""))
    plain = text.rstrip("0123456789")
    if plain not in {
        "bool", "int", "uint", "float", "complex", "string", "numpy.datetime", "numpy.timedelta",
        "fixed_length_utf", "r",
    }:  # fmt: skip
        raise _refused_type(name, kind)
    _check_codecs(told.get("codecs"), told, name)
    grid = told.get("chunk_grid")
    if not isinstance(grid, dict) or grid.get("name") != "regular":
        raise _refused(name, f"chunk grid {grid!r:.60}")
    configuration = grid.get("configuration")
    return configuration.get("chunk_shape") if isinstance(configuration, dict) else None


def _check_codecs(codecs: Any, told: Mapping[str, Any], name: str, depth: int = 0) -> None:
    if not isinstance(codecs, list):
        raise _damaged(name, "", "its codecs are no list")
    for codec in codecs:
        named = codec.get("name") if isinstance(codec, dict) else codec
        if named not in _CODECS and str(named).removeprefix("numcodecs.") not in _NUMCODECS:
            raise _refused(name, named)
        if named == "sharding_indexed":
            inner = codec.get("configuration") if isinstance(codec, dict) else None
            if depth or not isinstance(inner, dict):
                raise _refused(name, "sharding_indexed within itself")
            for key in ("codecs", "index_codecs"):
                _check_codecs(inner.get(key), told, name, depth + 1)


def _refused(name: str, what: object) -> AssetForbidden:
    known = ", ".join(sorted(_CODECS | _NUMCODECS))
    return AssetForbidden(
        f"{name!r} is packed with {what!r:.80}, which is not unpacked here. What is: {known}."
    )


def _refused_type(name: str, kind: object) -> AssetForbidden:
    return AssetForbidden(
        f"{name!r} holds the type {kind!r:.80}, which is not read. Numbers and texts are."
    )


def finest_levels(nodes: Iterable[Node]) -> set[str]:
    """Return the groups that are coarser levels of others, by the attribute `multiscales`.

    The first level that is listed is the finest one (zarr-conventions, OME-Zarr).
    """
    coarser: set[str] = set()
    for node in nodes:
        told = node.attributes.get("multiscales")
        levels: list[Any] = []
        if isinstance(told, dict):
            levels = list(told.get("layout") or ())
        elif isinstance(told, list) and told and isinstance(told[0], dict):
            levels = list(told[0].get("datasets") or ())
        with suppress(AttributeError, TypeError):
            paths = [str(one.get("asset", one.get("path", ""))) for one in levels]
            coarser |= {f"{node.path}/{p}".strip("/") for p in paths[1:] if p and p != paths[0]}
    return coarser
