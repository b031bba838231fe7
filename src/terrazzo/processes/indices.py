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
    pair = {
        *bands.matching(arguments.get("nir", "nir")),
        *bands.matching(arguments.get("red", "red")),
    }
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
        nir: name or common name of the near-infrared band; the name of a band goes before.
        red: name or common name of the red band.
        target_band: append the index to the bands under this name; null drops the bands.

    Returns:
        (..., y, x) without the bands, or with one band more; -1..1, unitless. No-data where
        either band is; NaN where both are zero.

    Raises:
        NirBandAmbiguous: no band is called `nir`, or several have that common name.
        RedBandAmbiguous: no band is called `red`, or several have that common name.
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
    found = bands.matching(name)
    if len(found) != 1:
        argument = "nir" if problem is NirBandAmbiguous else "red"
        several = ", ".join(str(bands.labels[position]) for position in found)
        raise problem(
            f"{f'The bands {several} have' if found else 'No band has'} the name or common name "
            f"{name!r}. Bands here: {_listed(bands.labels)}. Name one of them with `{argument}`."
        )
    return found[0]


def _listed(labels: tuple[Label, ...]) -> str:
    return ", ".join(map(str, labels)) or "none"
