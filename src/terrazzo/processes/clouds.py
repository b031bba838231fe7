"""Clouds and their shadows, found by rules on the reflectance of every pixel by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind
from terrazzo.cube.pixels import as_float
from terrazzo.errors import ArgumentInvalid, DimensionAmbiguous
from terrazzo.processes.cube_schemas import RasterBandsCube
from terrazzo.processes.labels import found_in, without
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Labels, Role, Rules, process
from terrazzo.processes.schemas import Schema

CloudMethod = Annotated[
    str | None,
    Schema([{"type": "string", "enum": ["Fmask", "s2cloudless", "Sen2Cor"]}, {"type": "null"}]),
]
NoOptions = Annotated[Mapping[str, Any], Schema({"type": "object", "additionalProperties": False})]
Reflectance = Mapping[str, Any]
"""By common name, per pixel."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """One way to find what is between the ground and the sensor."""

    source: str
    """Where it was published."""
    finds: tuple[str, ...]
    """What it tells apart, in openEO's words."""
    bands: Mapping[str, tuple[str, ...]]
    """Common names of the bands that it needs, and what else they are called."""
    find: Callable[[Reflectance], tuple[Any, ...]]
    """Tells where each of `finds` is."""


_TREE = {
    "dark": 0.319,
    "low": 0.166,
    "deep": 0.027,
    "dry": -0.097,
    "wet": 0.021,
    "high": 14.689,
    "clear": 0.788,
    "soft": 4.33,
    "cold": 0.255,
    "dull": 0.3,
    "dim": 0.525,
    "warm": 1.184,
}
"""Where the branches of the decision tree part, by what lies below."""
_COLOUR = {"bright": 0.175, "very_bright": 0.39, "not_red": 0.0}
"""What the spectral test takes for cloud above."""


def _by_tree(band: Reflectance) -> tuple[Any, ...]:
    """Go through the decision tree of nine Sentinel-2 bands."""
    dark = band["green"] < _TREE["dark"]
    low = band["nir08"] < _TREE["low"]
    deep = band["green"] - band["rededge078"] < _TREE["deep"]
    vapour = band["nir09"] - band["swir16"]
    shaded = (deep & ~(vapour < _TREE["dry"])) | (~deep & ~(vapour < _TREE["wet"]))
    high = band["blue"] / band["cirrus"] < _TREE["high"]
    thin = high & ~(band["blue"] / band["nir09"] < _TREE["clear"])
    soft = band["rededge071"] / band["swir16"] < _TREE["soft"]
    cold = band["swir16"] - band["cirrus"] < _TREE["cold"]
    thick = soft & (cold | ~(band["coastal"] < _TREE["dull"]))
    warm = band["coastal"] / band["rededge071"] < _TREE["warm"]
    dim = ~soft & (band["green"] < _TREE["dim"]) & ~warm
    cloud = (dark & ~low & thin) | (~dark & thick)
    shadow = (dark & low & shaded) | (~dark & dim)
    return cloud, shadow


def _by_colour(band: Reflectance) -> tuple[Any, ...]:
    """Take what is very bright, or bright and not red, for cloud."""
    green, red = band["green"], band["red"]
    not_red = (green - red) / (green + red) > _COLOUR["not_red"]
    return ((green > _COLOUR["very_bright"]) | ((green > _COLOUR["bright"]) & not_red),)


_KNOWN = (
    _Rules(
        "Hollstein et al. 2016",
        ("cloud", "shadow"),
        {
            "coastal": ("B01",),
            "blue": ("B02",),
            "green": ("B03",),
            "rededge071": ("rededge1", "B05"),
            "rededge078": ("rededge3", "B07"),
            "nir08": ("B8A",),
            "nir09": ("B09",),
            "cirrus": ("B10",),
            "swir16": ("B11",),
        },
        _by_tree,
    ),
    _Rules(
        "Braaten, Cohen and Yang 2015",
        ("cloud",),
        {"green": ("B03",), "red": ("B04",)},
        _by_colour,
    ),
)
"""What is known, the best first."""


def _needed_bands(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the bands that the rules look at, and nothing else of the others."""
    del arguments
    data = inputs["data"]
    bands = _bands_of(data)
    _, found = _chosen(bands)
    needed = found_in(data, without(wanted, bands.name), output)
    return {"data": {**needed, bands.name: tuple(sorted(found.values()))}}


@process(
    "cloud_detection",
    Role.CUBE,
    categories=("cubes", "optical"),
    rules=Rules(labels=_needed_bands, scratch=3.0),
    experimental=True,
)
def cloud_detection(
    data: RasterBandsCube,
    method: CloudMethod,
    options: NoOptions = {},  # noqa: B006 - the openEO default; never written to
) -> RasterBandsCube:
    """Tell clouds and cloud shadows from clear pixels by rules on their reflectance.

    The rules are those of the decision tree for Sentinel-2 of Hollstein et al. (clouds, cirrus
    among them, and shadows) if all bands that it looks at are there: coastal, blue, green,
    rededge071, rededge078, nir08, nir09, cirrus, swir16. Otherwise they are the spectral test of
    Braaten, Cohen and Yang (clouds only), which looks at green and red.

    Args:
        data: (..., band, ..., y, x) reflectance at the top of the atmosphere, 0..1. Bands are
            found by name, common name, or Sentinel-2's own names (`B01` ... `B11`).
        method: null. Fmask, s2cloudless and Sen2Cor need more than the pixel, and are not here.
        options: none.

    Returns:
        The cube with the bands `cloud` and, from the first rules, `shadow`: 1 where it is and 0
        where not. No-data where a band that is looked at has none; NaN where one is NaN.

    Raises:
        DimensionAmbiguous: there is no dimension of type bands, or there are several.
        ProcessParameterInvalid: there is no such method or option, or bands are missing.

    Source:
        openEO process `cloud_detection` 2.0.0-rc.2; Hollstein et al. 2016, Remote Sensing 8, 666;
        Braaten, Cohen and Yang 2015, Remote Sensing of Environment 169, 128-138.
    """
    if method is not None or options:
        raise ArgumentInvalid(
            f"There is no method {method!r} with the options {options!r}. Set `method` to null "
            "and leave out `options`: the rules are then chosen by the bands."
        )
    bands = _bands_of(data)
    rules, found = _chosen(bands)
    stack, axis = data.stack(bands.name), data.axis(bands.name)
    reflectance = {name: as_float(stack.values[place]) for name, place in found.items()}
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        marks = rules.find(reflectance)
    unknown = _any(*(np.isnan(values) for values in reflectance.values()))
    nan = next(iter(reflectance.values())).dtype.type(np.nan)
    planes = [np.where(unknown, nan, mark.astype(nan.dtype)) for mark in marks]
    valid = all_of(planes[0].shape, *(stack.valid[place] for place in found.values()))
    made = replace(bands, labels=rules.finds, facts={})
    return replace(
        data,
        values=np.stack(planes, axis),
        valid=np.stack([valid] * len(planes), axis),
        dimensions=data.with_dimension(axis, made),
    )


def _any(first: Any, *others: Any) -> Any:
    for other in others:
        first = first | other
    return first


def _bands_of(data: Cube) -> Dimension:
    bands = [dimension for dimension in data.dimensions if dimension.kind is Kind.BANDS]
    if len(bands) != 1:
        raise DimensionAmbiguous(
            f"`cloud_detection` needs one dimension of type bands; of {', '.join(data.names)} "
            f"{', '.join(d.name for d in bands) or 'none'} is."
        )
    return bands[0]


def _chosen(bands: Dimension) -> tuple[_Rules, dict[str, int]]:
    """Return the best rules for which there are bands, and the positions of these."""
    for rules in _KNOWN:
        places = {name: _place(bands, (name, *more)) for name, more in rules.bands.items()}
        found = {name: place for name, place in places.items() if place is not None}
        if len(found) == len(places):
            return rules, found
    needs = "; or ".join(f"{', '.join(rules.bands)} ({rules.source})" for rules in _KNOWN)
    raise ArgumentInvalid(
        f"Clouds are found in the bands {needs}. Bands here: "
        f"{', '.join(map(str, bands.labels)) or 'none'}. Load more, or rename them with "
        "`rename_labels`."
    )


def _place(bands: Dimension, names: tuple[str, ...]) -> int | None:
    """Return the position of the band that has one of the names, as its only one."""
    for name in names:
        found = bands.matching(name)
        if len(found) == 1:
            return found[0]
    return None
