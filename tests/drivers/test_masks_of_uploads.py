"""A mask of whole numbers becomes a number that no valid pixel has."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from terrazzo.drivers.uploads import _marked
from terrazzo.errors import ArgumentInvalid

TRIED = 1 << 16


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"],
)
def test_the_lowest_number_that_no_valid_pixel_has_is_no_data(dtype: str):
    info = np.iinfo(dtype)
    low, high = max(int(info.min), -(2**53)), int(info.max)  # below, GDAL reads another number
    some = [int(info.min), low, low + 1, low + 2, low + 5, low + 3, high - 1, high, *range(101)]
    values = np.array([some, some[::-1]], dtype)
    valid = (values != low + 3).astype(np.uint8)
    taken = {int(one) for one in values[valid != 0]}
    wanted = next(number for number in range(low, high) if number not in taken)

    found, number = _marked("b", values, valid)

    assert (found, number) == (np.dtype(dtype), float(wanted))


def test_a_type_without_a_free_number_becomes_a_wider_one():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)

    found = _marked("b", values, np.ones((16, 16), np.uint8))

    assert found == (np.dtype("int16"), -32768.0)


def test_where_there_is_no_wider_type_a_mask_is_refused():
    values = np.arange(TRIED, dtype=np.uint32).reshape(256, 256)

    with pytest.raises(ArgumentInvalid, match="no number left"):
        _marked("b", values, np.ones((256, 256), np.uint8))


@pytest.mark.usefixtures("alone")
def test_a_free_number_is_found_in_little_memory():
    values = np.arange(8_000_000, dtype=np.int32).reshape(1, -1)
    valid = np.ones(values.shape, np.uint8)

    tracemalloc.start()
    _marked("b", values, valid)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < values.nbytes
