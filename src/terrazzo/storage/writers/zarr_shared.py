"""Zarr 3 by many writers: each puts its own chunks, and nobody waits for anybody.

First the description of all arrays is there, then chunks come in any order, and then the coarser
levels are made of them. The store is what `zarr` writes alone, but for the zip: the same groups,
arrays and numbers.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import zarr
from typing_extensions import override
from zarr.abc.store import Store

from terrazzo.errors import ArgumentInvalid
from terrazzo.spans import note, span
from terrazzo.storage.writers.netcdf import raster_probe
from terrazzo.storage.writers.zarr import (
    CHUNK,
    Layout,
    create_level,
    halve,
    halves,
    quiet,
    root_attributes,
    write_block,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from typing_extensions import Buffer as Bytes
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from terrazzo.cube import Cube
    from terrazzo.geo.grid import Grid, Window

ROOT: Final = "zarr.json"


class Files(Protocol):
    """Where a store lies: files of a folder, or objects of a bucket, each whole or not there."""

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """Return the first bytes of a file, or all; None if there is none."""

    def has(self, name: str) -> bool:
        """Tell whether there is a file."""

    def write(self, name: str, *parts: Bytes) -> None:
        """Write a file."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""


def chunk_of(edge: int) -> int:
    """Return the edge of the chunks of a store that is written in blocks of an edge.

    No two blocks have pixels of one chunk.

    Raises:
        ArgumentInvalid: there are no such chunks.
    """
    if edge <= CHUNK:
        return edge
    if edge % CHUNK:
        raise ArgumentInvalid(
            f"A Zarr store that is no archive is written in chunks of {CHUNK} x {CHUNK} pixels, "
            f"each by one worker, and blocks of {edge} pixels would cut them. Choose --block "
            f"{edge // CHUNK * CHUNK}, another multiple of {CHUNK}, or at most {CHUNK}."
        )
    return CHUNK


class SharedZarr:
    """A store whose first level is written block by block, by whoever has a block."""

    def __init__(
        self,
        files: Files,
        grid: Grid,
        *,
        probe: Cube,
        window: Window,
        chunk: int,
        nodata: float | None = None,
        overviews: str = "nearest",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Say what it holds; nothing is written yet.

        Args:
            files: where it lies.
            grid: the lattice of all blocks.
            probe: a cube of the same dimensions, labels and type; its pixels don't matter.
            window: the pixels of `grid` that make the store. What no block covers is no-data.
            chunk: edge of the chunks, pixels; blocks begin at multiples of it from the corner of
                the window, and end there or at the window's border.
            nodata: as in `write_zarr`.
            overviews: as in `write_zarr`.
            metadata: attributes of the root.

        Raises:
            FormatUnsupported: no raster, or no-data cannot be written.
        """
        probe = raster_probe(probe, "Zarr stores")
        self._files = files
        self._layout = Layout.of(grid, window, probe, nodata, overviews, chunk)
        self._attributes = root_attributes(self._layout) | dict(metadata or {})
        self._store = _FileStore(files)
        self._arrays: dict[str, zarr.Array[Any]] = {}

    @property
    def begun(self) -> bool:
        """Whether what arrays there are is written.

        Raises:
            OutputFailed: that cannot be told.
        """
        return self._files.has(ROOT)

    def begin(self) -> None:
        """Write what arrays there are; chunks that are there stay.

        Raises:
            OutputFailed: it cannot be written.
        """
        described = self._described()
        for name in sorted(described, key=lambda name: name == ROOT):
            self._files.write(name, described[name])

    def _described(self) -> dict[str, bytes]:
        """Return the documents of groups and arrays, and the coordinates; the root knows of all.

        They are made in memory and put as they are, for Zarr would empty what another writer has
        begun meanwhile.
        """
        made: dict[str, Buffer] = {}
        with quiet():
            root = zarr.create_group(zarr.storage.MemoryStore(made), zarr_format=3)
            root.attrs.update(self._attributes)
            for number, shape in enumerate(self._layout.levels):
                create_level(root.create_group(str(number)), self._layout, number, shape)
            zarr.consolidate_metadata(root.store)
        return {name: content.to_bytes() for name, content in made.items()}

    def write(self, cube: Cube) -> None:
        """Put the chunks of a block.

        Args:
            cube: of the same dimensions as the probe; its window is a block.

        Raises:
            OutputFailed: they cannot be written. What was put stays, and is put again.
        """
        with span("encode"), quiet():
            write_block(self._level(0), cube, self._layout)

    def _level(self, number: int) -> dict[str, zarr.Array[Any]]:
        for name in self._layout.names:
            path = f"{number}/{name}"
            if path not in self._arrays:
                self._arrays[path] = zarr.open_array(self._store, path=path, mode="r+")
        return {name: self._arrays[f"{number}/{name}"] for name in self._layout.names}

    @property
    def halves(self) -> int:
        """How many parts the coarser levels are made in."""
        coarser = (self._level(number) for number in range(1, len(self._layout.levels)))
        arrays = (array for level in coarser for array in level.values())
        return sum(sum(1 for _ in halves(array, self._layout)) for array in arrays)

    def coarsen(self, threads: int = 1) -> Iterator[None]:
        """Make the coarser levels out of the first, once it is whole; yields after each part.

        Raises:
            OutputFailed: they cannot be written, or the first one not read.
        """
        with ThreadPoolExecutor(threads, thread_name_prefix="halve") as pool, quiet():
            for finer, coarser in pairwise(range(len(self._layout.levels))):
                fine, coarse = self._level(finer), self._level(coarser)
                for name in self._layout.names:
                    work = partial(halve, fine[name], coarse[name], self._layout)
                    for _ in pool.map(work, halves(coarse[name], self._layout)):
                        yield


class _FileStore(Store):
    """Chunks of arrays whose names are known: nothing is listed."""

    supports_writes = True
    supports_deletes = True
    supports_listing = False

    def __init__(self, files: Files) -> None:
        super().__init__(read_only=False)
        self._files = files

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _FileStore) and other._files == self._files

    __hash__ = None  # type: ignore[assignment]

    @override
    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if byte_range is not None:
            raise NotImplementedError
        found = await asyncio.to_thread(self._files.read, key)
        return None if found is None else prototype.buffer.from_bytes(found)

    @override
    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        raise NotImplementedError

    @override
    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._files.has, key)

    @override
    async def set(self, key: str, value: Buffer) -> None:
        content = value.to_bytes()
        await asyncio.to_thread(self._files.write, key, content)
        note("bytes_written", len(content))

    @override
    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._files.delete, [key])

    @override
    def list(self) -> AsyncIterator[str]:
        raise NotImplementedError

    @override
    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError

    @override
    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError
