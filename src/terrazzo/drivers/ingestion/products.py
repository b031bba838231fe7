"""Products: folders as agencies deliver them, whose metadata files say what the images are.

An image that lies in such a folder is not looked at by itself. Each kind of product is a module
with a `MARKER` that finds its metadata file from an image, and a `read` that turns the product
into images that are fully described, or into items that are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from terrazzo.drivers.ingestion import (
    product_landsat,
    product_sentinel1,
    product_sentinel2,
    product_sentinel3,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.drivers.ingestion.items import FoundFile, Given
    from terrazzo.drivers.ingestion.raster import Part


class Kind(Protocol):
    """One kind of product."""

    def marker(self, file: FoundFile) -> Path | None:
        """Return the metadata file of the product that an image belongs to; None if to none."""

    def read(self, marker: Path, files: Sequence[FoundFile], given: Given) -> Sequence[Part]:
        """Return the images of a product, described, or the items that it becomes.

        Raises:
            SourceUnreadable: a file is damaged or missing.
            ArgumentInvalid: the product is of a kind that is not read.
        """


KINDS: tuple[Kind, ...] = (product_sentinel3, product_sentinel2, product_sentinel1, product_landsat)


@dataclass(frozen=True, slots=True)
class Product:
    """A product that was found."""

    kind: Kind
    """What reads it."""
    marker: Path
    """Its metadata file."""
    files: tuple[FoundFile, ...]
    """Its images."""
    name: str
    """What it is called in messages."""

    def read(self, given: Given) -> Sequence[Part]:
        """Return its images, described, or the items that it becomes.

        Raises:
            SourceUnreadable: a file is damaged or missing.
            ArgumentInvalid: the product is of a kind that is not read.
        """
        return self.kind.read(self.marker, self.files, given)


def split_products(files: Sequence[FoundFile]) -> tuple[list[Product], list[FoundFile]]:
    """Part the files of products from those that stand for themselves."""
    groups: dict[tuple[int, Path], list[FoundFile]] = {}
    single: list[FoundFile] = []
    for file in files:
        if file.address:  # a product is fetched before it is looked at
            single.append(file)
            continue
        for number, kind in enumerate(KINDS):
            marker = kind.marker(file)
            if marker is not None:
                groups.setdefault((number, marker), []).append(file)
                break
        else:
            single.append(file)
    products = [
        Product(KINDS[number], marker, tuple(members), marker.parent.name)
        for (number, marker), members in groups.items()
    ]
    return products, single
