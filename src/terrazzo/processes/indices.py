"""Spectral indices."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Label, all_valid
from terrazzo.cube.pixels import as_float, known_everywhere
from terrazzo.errors import (
    BandExists,
    DimensionAmbiguous,
    NirBandAmbiguous,
    RedBandAmbiguous,
)
from terrazzo.processes.cube_schemas import BandName, RasterBandsCube, TargetBand
from terrazzo.processes.labels import found_in
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Labels, Role, Rules, process
from terrazzo.processes.schemas import RasterCube


def _index_labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the two bands and, where the index is added to the others, those that are wanted."""
    data = inputs["data"]
    needed = found_in(data, wanted, output)
    bands = data.only(Kind.BANDS)
    pair = {bands.index(arguments.get("nir", "nir")), bands.index(arguments.get("red", "red"))}
    needed[bands.name] = tuple(sorted(pair | set(needed.get(bands.name, ()))))
    return {"data": needed}


@process(
    "ndvi",
    Role.CUBE,
    categories=("cubes", "math > indices", "vegetation indices"),
    rules=Rules(labels=_index_labels, scratch=2.0),
)
def ndvi(
    data: RasterBandsCube,
    nir: BandName = "nir",
    red: BandName = "red",
    target_band: TargetBand = None,
) -> RasterCube:
    """Normalised difference vegetation index, (nir - red) / (nir + red).

    Args:
        data: (..., band, ..., y, x) reflectance; any type of number.
        nir: name of the near-infrared band.
        red: name of the red band.
        target_band: append the index to the bands under this name; null drops the bands.

    Returns:
        (..., y, x) without the bands, or with one band more; -1..1, unitless. No-data where
        either band is; NaN where both are zero.

    Raises:
        NirBandAmbiguous: no band is called `nir`.
        RedBandAmbiguous: no band is called `red`.
        DimensionAmbiguous: there is no dimension of type bands, or there are several.
        BandExists: there is a band called `target_band` already.

    Source:
        openEO process `ndvi` 2.0.0-rc.2; Rouse et al. 1974, NASA SP-351 I, 309-317.
    """
    bands = [dimension for dimension in data.dimensions if dimension.kind is Kind.BANDS]
    if len(bands) != 1:
        raise DimensionAmbiguous(
            f"`ndvi` needs one dimension of type bands; of {', '.join(data.names)} "
            f"{', '.join(d.name for d in bands) or 'none'} is."
        )
    near, low = _band(bands[0], nir, NirBandAmbiguous), _band(bands[0], red, RedBandAmbiguous)
    if target_band is not None and target_band in bands[0].labels:
        raise BandExists(
            f"There is a band {target_band!r} already. Bands: {_listed(bands[0].labels)}."
        )
    stack, axis = data.stack(bands[0].name), data.axis(bands[0].name)
    a, b = as_float(stack.values[near]), as_float(stack.values[low])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        index = (a - b) / (a + b)
    valid = all_of(index.shape, stack.valid[near], stack.valid[low])
    if target_band is None:
        rest = data.dimensions[:axis] + data.dimensions[axis + 1 :]
        return replace(data, values=index, valid=valid, dimensions=rest)
    more = replace(bands[0], labels=(*bands[0].labels, target_band))
    values = np.concatenate([data.values, np.expand_dims(index, axis)], axis)
    masks = [data.valid, np.expand_dims(valid, axis)]
    everywhere = known_everywhere(data.valid)
    return replace(
        data,
        values=values,
        valid=all_valid(values.shape) if everywhere else np.concatenate(masks, axis),
        dimensions=data.with_dimension(axis, more),
    )


def _band(bands: Dimension, name: str, problem: type[NirBandAmbiguous | RedBandAmbiguous]) -> int:
    if name not in bands.labels:
        argument = "nir" if problem is NirBandAmbiguous else "red"
        raise problem(
            f"No band is called {name!r}. Bands here: {_listed(bands.labels)}. Name one of them "
            f"with `{argument}`."
        )
    return bands.labels.index(name)


def _listed(labels: tuple[Label, ...]) -> str:
    return ", ".join(map(str, labels)) or "none"
