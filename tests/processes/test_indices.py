"""Bands of spectral indices are found by their name, or else by their common name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.processes.cubes import X, Y, assert_blocks_agree, bands, cube, evaluate, infer

from terrazzo.cube import BandFacts, Cube
from terrazzo.errors import NirBandAmbiguous, RedBandAmbiguous


def sentinel(**common: str) -> Cube:
    """Return bands B04, B08 and B8A with these common names."""
    facts = {name: BandFacts(common_name) for name, common_name in common.items()}
    data = cube(bands(("B8A", "B04", "B08")))
    return replace(data, dimensions=(replace(data.dimensions[0], facts=facts), Y, X))


def test_common_names_are_found() -> None:
    data = sentinel(B04="red", B08="nir", B8A="nir08")

    result = assert_blocks_agree("ndvi", data=data)

    red, nir = data.values[1], data.values[2]
    np.testing.assert_array_equal(result.valid, data.valid[1:].all(0))
    with np.errstate(invalid="ignore"):
        expected = (nir - red) / (nir + red)
    np.testing.assert_array_equal(result.values[result.valid], expected[result.valid])


def test_the_name_of_a_band_goes_before_a_common_name() -> None:
    data = sentinel(B04="red", B08="B8A", B8A="nir")

    by_name = evaluate("ndvi", data=data, nir="B8A")

    by_common_name = evaluate("ndvi", data=data)
    np.testing.assert_array_equal(by_name.values, by_common_name.values)


def test_a_common_name_of_several_bands_or_none_is_refused() -> None:
    with pytest.raises(NirBandAmbiguous, match="B8A, B08"):
        infer("ndvi", data=sentinel(B04="red", B08="nir", B8A="nir"))
    with pytest.raises(NirBandAmbiguous, match="No band"):
        infer("ndvi", data=sentinel(B04="red"))
    with pytest.raises(RedBandAmbiguous):
        infer("ndvi", data=sentinel(B08="nir"))
