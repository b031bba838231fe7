"""What GDAL and NumPy raise of damaged files, told as one error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from terrazzo.storage.handles import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.storage.gate import AssetName


@contextmanager
def as_unreadable(asset: AssetName) -> Iterator[None]:
    """Tell what goes wrong with a file inside of a `with` block.

    Raises:
        SourceUnreadable: instead of errors of GDAL, also those that rasterio lets through, and
            where a damaged header makes something claim more memory than there is.
    """
    try:
        yield
    except MemoryError:
        raise unreadable(asset, "reading it takes more memory than there is") from None
    except (RasterioError, CPLE_BaseError) as error:
        raise unreadable(asset, error) from None
