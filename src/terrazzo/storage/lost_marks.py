"""No-data of images that rasterio tells wrongly or not at all: large integers of 64 bits."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree
import numpy as np
import rasterio
import rasterio.shutil
from defusedxml.common import DefusedXmlException
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError

from terrazzo.storage.handles import gdal_environment, open_dataset, unreadable
from terrazzo.storage.set_aside import is_long, stand_in, with_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import RasterInfo


def lost_mark(asset: AssetName, info: RasterInfo) -> int | None:
    """Return the no-data of an image that float64 does not hold; None if there is no such.

    Args:
        asset: the image.
        info: what it says of itself.

    Raises:
        SourceUnreadable: it cannot be opened.
    """
    if not is_long(info.dtype):
        return None
    with open_dataset(asset) as dataset:
        return _lost_mark(asset, dataset)


def _lost_mark(asset: AssetName, dataset: Any) -> int | None:
    """Ask GDAL for the text, as rasterio gives numbers of float64."""
    if not is_long(np.dtype(dataset.dtypes[0])):
        return None
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        return None
    with tempfile.TemporaryDirectory() as folder, gdal_environment():
        told = Path(folder) / "told.vrt"
        try:
            rasterio.shutil.copy(dataset, told, driver="VRT")
            text = defusedxml.ElementTree.parse(told).findtext("VRTRasterBand/NoDataValue")
            mark = int(text or 0)
        except (RasterioError, CPLE_BaseError, DefusedXmlException, SyntaxError) as error:
            raise unreadable(asset, error) from None
        except ValueError:
            return None
    return None if mark == int(float(mark)) == _told(dataset) else mark


def _told(dataset: Any) -> int:
    """Return what rasterio takes for no-data, 0 if it knows none."""
    return int(dataset.nodatavals[0] or 0)


@contextmanager
def kept_mark(asset: AssetName, dataset: Any, path: Path) -> Iterator[Any]:
    """Give an image whose no-data any reader takes for what it is: the image itself if it can.

    Args:
        asset: the image, for messages.
        dataset: opened of it.
        path: of the file that will be made of it; one beside it is there meanwhile.

    Raises:
        SourceUnreadable: it cannot be decoded, or has the number that would mark no-data.
    """
    mark = _lost_mark(asset, dataset)
    if mark is None:
        yield dataset
        return
    raw = path.with_suffix(".marked.tif")
    try:
        with gdal_environment():
            rasterio.shutil.copy(dataset, raw, driver="GTiff", TILED="YES", BIGTIFF="IF_SAFER")
            _rewrite(asset, raw, mark)
            with rasterio.open(raw) as plain:
                yield plain
    finally:
        raw.unlink(missing_ok=True)


def _rewrite(asset: AssetName, raw: Path, mark: int) -> None:
    """Give pixels without data a number that any reader takes for what it is."""
    with rasterio.open(raw, "r+") as file:
        for index in range(1, file.count + 1):
            for _, window in file.block_windows(index):
                numbers = file.read(index, window=window)
                try:
                    kept = with_stand_in(numbers, numbers == mark)
                except ValueError as error:
                    raise unreadable(asset, str(error)) from None
                file.write(kept, index, window=window)
        file.nodata = stand_in(np.dtype(file.dtypes[0]))
