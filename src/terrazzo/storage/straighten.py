"""Images whose pixels lie on no regular grid of a known CRS, brought onto one.

What an image lacks is told of it (a CRS, a geotransform), or worked out: ground control points and
rotated, sheared or mirrored pixels are warped to the nearest pixel of a north-up grid of about
their own size, so that every number is one that the file holds.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name, crs_object
from terrazzo.storage.handles import gdal_environment, open_dataset, unreadable
from terrazzo.storage.headers import RasterInfo, info_of
from terrazzo.storage.image_facts import facts_of
from terrazzo.storage.ingest_support import check_whole, cog_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.image_facts import FileFacts

LARGEST_GROWTH: Final = 16
"""A warped image may have so many times the pixels of the file; more says that points are wrong."""
_SMALL: Final = 4096 * 4096
_NEAR: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Georeference:
    """What a file says about where its pixels are."""

    crs: str
    """Name of the CRS of its geotransform or its points; empty if it states none."""
    has_transform: bool
    """Whether it has a geotransform."""
    turned: bool
    """Whether that is rotated, sheared or mirrored."""
    points: int
    """Number of ground control points."""
    has_rpcs: bool
    """Whether it has the coefficients of a sensor's model."""


def georeference_of(asset: AssetName) -> Georeference:
    """Return what a file says about where its pixels are.

    Raises:
        SourceUnreadable: the file cannot be opened, or its CRS is not known.
    """
    with open_dataset(asset) as dataset, gdal_environment():
        transform = dataset.transform
        points, points_crs = dataset.gcps
        has_transform = not transform.is_identity
        stated = dataset.crs if has_transform or not points else points_crs
        try:
            name = crs_name(stated.to_wkt()) if stated else ""
        except ArgumentInvalid:
            raise unreadable(asset, "its coordinate reference system is not known") from None
        turned = bool(transform.b or transform.d or transform.a < 0)
        return Georeference(
            name, has_transform, has_transform and turned, len(points), bool(dataset.rpcs)
        )


@dataclass(frozen=True, slots=True)
class Straightened:
    """An image on a regular grid."""

    asset: AssetName
    """The file, past the gate."""
    crs: str
    """CRS of its geotransform or points."""
    transform: tuple[float, ...] = ()
    """Affine (a, b, c, d, e, f) that is told of a file that has none; empty keeps its own."""

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open it for a `with` block, as a dataset that is warped when it is read.

        Raises:
            SourceUnreadable: the file cannot be opened, or its points make no grid.
        """
        with open_dataset(self.asset) as dataset, gdal_environment():
            try:
                warped = WarpedVRT(dataset, **self._options(dataset))
            except (RasterioError, CPLE_BaseError) as error:
                raise unreadable(
                    self.asset, f"its georeference makes no regular grid ({error})"
                ) from None
            with warped:
                pixels = warped.height * warped.width
                most = max(LARGEST_GROWTH * dataset.height * dataset.width, _SMALL)
                if pixels > most:
                    raise unreadable(
                        self.asset,
                        f"on a regular grid it would have {warped.height} x {warped.width} pixels "
                        f"instead of {dataset.height} x {dataset.width}, so its points or its "
                        "geotransform are wrong",
                    )
                yield warped

    def _options(self, dataset: Any) -> dict[str, Any]:
        wkt = crs_object(self.crs).to_wkt()
        options: dict[str, Any] = {
            "crs": wkt, "src_crs": wkt, "resampling": Resampling.nearest, "warp_mem_limit": 64,
        }  # fmt: skip
        own = dataset.transform
        stated = Affine(*self.transform) if self.transform else own
        if self.transform:
            options["src_transform"] = stated
        if not stated.is_identity and not stated.b and not stated.d and stated.a > 0:
            # Nothing is to be turned: the grid stays the file's, to the bit.
            options |= {"transform": stated, "width": dataset.width, "height": dataset.height}
            turned = False
        else:
            turned = True
            if not stated.is_identity:
                options |= _around(stated, dataset.height, dataset.width)
        flags = dataset.mask_flag_enums[0] if dataset.count else []
        has_alpha = ColorInterp.alpha in dataset.colorinterp
        has_mask = MaskFlags.per_dataset in flags and not has_alpha
        nodata = dataset.nodatavals[0] if dataset.count else None
        if nodata is None and turned and np.dtype(dataset.dtypes[0]).kind == "f" and not has_alpha:
            options["nodata"] = float("nan")
        elif (nodata is None and turned and not has_alpha) or has_mask:
            options["add_alpha"] = True
        return options

    def describe(self) -> tuple[RasterInfo, FileFacts]:
        """Return what the image says about itself, and what the file states besides.

        Raises:
            SourceUnreadable: as `open`.
        """
        with open_dataset(self.asset) as dataset:
            facts = facts_of(dataset)
        with self.open() as warped:
            return info_of(self.asset, warped), facts

    def copy(self, path: Path) -> None:
        """Write it as a COG.

        Args:
            path: the new file, in a folder that is there. It appears whole or not at all.

        Raises:
            SourceUnreadable: the file cannot be decoded.
            OutputFailed: the copy cannot be written.
        """
        check_whole(self.asset, decode=True)
        with self.open() as warped:
            cog_of(warped, path)


def _around(place: Affine, height: int, width: int) -> dict[str, Any]:
    """Return the north-up grid around rotated, sheared or mirrored pixels, of about their size.

    The longer part of a pixel's edges along each axis is the size, so that no pixel is lost.
    """
    corners = [place @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    across, down = max(abs(place.a), abs(place.b)), max(abs(place.d), abs(place.e))
    return {
        "transform": Affine(across, 0.0, min(xs), 0.0, -down, max(ys)),
        "width": max(math.ceil((max(xs) - min(xs)) / across - _NEAR), 1),
        "height": max(math.ceil((max(ys) - min(ys)) / down - _NEAR), 1),
    }
