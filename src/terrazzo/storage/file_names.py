"""The files of very many images, compressed: what versions of reads are made of.

Names of files resemble each other, so a hundred of them take what five would. They are only
compared, and asked for when the files were changed: nothing is opened by them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from terrazzo.storage.folders import Links
    from terrazzo.storage.scenes import AssetBand

    Files = tuple[str, ...]

MOST_LINKS: Final = 256
"""Symbolic links that are remembered; of more the images are asked."""
_TOGETHER: Final = 128
_LEVEL: Final = 1
_IMAGE, _FILE, _PART = "\n", "\x01", "\x02"
_BETWEEN: Final = re.compile(f"[{_IMAGE}{_FILE}{_PART}]")
"""What no name that is asked for has, see `gate`; but links may lead to one that does."""


def told_of(band: AssetBand) -> str:
    """Return the name of a band's file, and what its item says of its content."""
    return f"{band.asset.gdal}{_PART}{band.checksum}" if band.checksum else band.asset.gdal


def path_of(told: str) -> str:
    """Return the path of a file of this machine from what `told_of` tells."""
    return told.partition(_PART)[0]


@dataclass(frozen=True, slots=True, eq=False)
class FileNames:
    """What `told_of` tells of the files of each image, in the order in which images came."""

    data: bytes
    """Compressed, many images together."""
    edges: NDArray[np.int64]
    """Where each part begins and the last one ends."""
    links: Links
    """Symbolic links by which files were found, each with what it led to."""

    def of(self, images: NDArray[np.int64]) -> Iterator[Files]:
        """Yield the files of images.

        Args:
            images: their positions; those that follow each other should be near each other.
        """
        part, rows = -1, list[str]()
        for image in images.tolist():
            if image // _TOGETHER != part:
                part = image // _TOGETHER
                packed = self.data[int(self.edges[part]) : int(self.edges[part + 1])]
                text = isal_zlib.decompress(packed).decode("utf-8", "surrogatepass")
                rows = text.split(_IMAGE)
            yield tuple(rows[image % _TOGETHER].split(_FILE))


@dataclass(slots=True, eq=False)
class Gathered:
    """Takes the files of images one by one."""

    _data: bytearray = field(default_factory=bytearray)
    _edges: list[int] = field(default_factory=lambda: [0])
    _rows: list[str] = field(default_factory=list)
    _links: dict[tuple[str, str], None] = field(default_factory=dict)
    _odd: bool = False

    def add(self, files: Sequence[AssetBand]) -> None:
        """Take the files of an image: a band of each."""
        if self._is_useless:
            return
        for band in files:
            asset = band.asset
            self._odd = self._odd or asset.is_remote or _BETWEEN.search(asset.gdal) is not None
            if asset.links:
                self._links.update(dict.fromkeys(asset.links))
        self._rows.append(_FILE.join(map(told_of, files)))
        if len(self._rows) == _TOGETHER:
            self._pack()

    def done(self) -> FileNames | None:
        """Return what was taken; None where versions must ask the images themselves."""
        if self._is_useless:
            return None
        self._pack()
        return FileNames(bytes(self._data), np.array(self._edges, np.int64), tuple(self._links))

    @property
    def _is_useless(self) -> bool:
        """Servers are asked by what only images know; links would all have to be looked at."""
        return self._odd or len(self._links) > MOST_LINKS

    def _pack(self) -> None:
        if not self._rows:
            return
        text = _IMAGE.join(self._rows).encode("utf-8", "surrogatepass")
        self._data += isal_zlib.compress(text, _LEVEL)
        self._edges.append(len(self._data))
        self._rows.clear()
