"""Arrays of xarray as users have them: what is x and y, what a band, what a date, and which CRS."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, crs_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

TIME: Final = "t"
_X: Final = ("x", "lon", "longitude", "easting", "projection_x_coordinate")
_Y: Final = ("y", "lat", "latitude", "northing", "projection_y_coordinate")
_DEGREES: Final = ("lon", "lat", "longitude", "latitude")
_BANDS: Final = ("band", "bands", "variable", "channel", "wavelength")


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """An array or dataset with one variable per band, of (t, y, x) or (y, x)."""

    data: xr.Dataset
    """Its variables, of which nothing is computed or copied, and the coordinates x, y and t."""
    crs: str
    """Canonical name."""
    banded: bool
    """Whether it had bands, in a dimension or as variables of a dataset."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Those of every variable, in order."""
        return (TIME, "y", "x") if TIME in self.data.dims else ("y", "x")


def laid_out(data: xr.DataArray | xr.Dataset, crs: str = "") -> LaidOut:
    """Find out what the dimensions of an array are, and where it lies.

    Args:
        data: with coordinates of its x and y, of pixel centres; dates, if it has any, in a
            dimension of its own. The bands of an array may be a dimension, too.
        crs: of its coordinates, where the data do not say (`.rio.crs`, a variable with a grid
            mapping, an attribute `crs`, or dimensions called lon and lat).

    Raises:
        ArgumentInvalid: it has no x, y or CRS, a dimension that is neither those nor dates, or
            bands that cannot be told apart by their names.
    """
    import xarray as xr  # noqa: PLC0415 - slow to load

    banded = isinstance(data, xr.Dataset) or bool(_band_dimensions(data))
    held = data if isinstance(data, xr.Dataset) else _variables(data)
    x, y = _one(held, _X, "x"), _one(held, _Y, "y")
    name = crs_name(crs) if crs else _crs_of(data, held, str(x))
    held = held[[key for key, one in held.data_vars.items() if {x, y} <= set(one.dims)]]
    if not held.data_vars:
        raise ArgumentInvalid(f"No variable of the dataset has the dimensions {y} and {x}.")
    names = {x: "x", y: "y", **_time(held, {x, y})}
    _check_bands([str(key) for key in held.data_vars], {*names.values()})
    plain = held.drop_vars([key for key in held.coords if key not in held.dims])
    renamed = plain.rename(names)
    order = [TIME, "y", "x"] if TIME in renamed.dims else ["y", "x"]
    made = {str(key): one.transpose(*(d for d in order if d in one.dims)).variable
            for key, one in renamed.data_vars.items()}  # fmt: skip
    coordinates = {key: renamed[key].variable.copy(deep=False) for key in order}
    return LaidOut(xr.Dataset(made, coords=coordinates), name, banded)


def _band_dimensions(data: xr.DataArray) -> list[Hashable]:
    return [dimension for dimension in data.dims if str(dimension) in _BANDS]


def _variables(data: xr.DataArray) -> xr.Dataset:
    """Return an array as a dataset of its bands.

    Raises:
        ArgumentInvalid: two bands have one name, or one that something else has.
    """
    bands, taken = _band_dimensions(data), {*map(str, data.coords), *map(str, data.dims)}
    if not bands:
        name = "value" if data.name is None else str(data.name)
        while name in taken:
            name = f"{name}_"
        return data.to_dataset(name=name)
    labels = [str(one) for one in data[bands[0]].to_numpy()]
    named = [f"band{one}" if one.isdigit() else one for one in labels]
    _check_bands(named, taken - {str(bands[0])})
    made = data.assign_coords({bands[0]: named}).to_dataset(dim=bands[0])
    for one in made.data_vars.values():  # what is said of the array, no-data among it, is of each
        one.attrs.update(data.attrs)
        one.encoding.update(data.encoding)
    return made


def _check_bands(names: list[str], taken: set[str]) -> None:
    """Refuse bands that cannot be told apart by their names.

    Raises:
        ArgumentInvalid: two have one name, or one that a coordinate or dimension has.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArgumentInvalid(
            f"The array has several bands called {twice[0]!r}; a number such as 1 counts as "
            "'band1'. Give each a name of its own, e.g. array.assign_coords(band=['red', 'nir'])."
        )
    if clash := sorted(taken & {*names}):
        raise ArgumentInvalid(
            f"A band is called {clash[0]!r}, as a coordinate or dimension of the array is. Give it "
            "another name, e.g. array.assign_coords(band=['red', 'nir']) or "
            f"dataset.rename({clash[0]}='value')."
        )


def _one(data: xr.Dataset, names: tuple[str, ...], what: str) -> Hashable:
    """Return the dimension that is x, or y."""
    found = [dimension for dimension in data.dims if str(dimension).lower() in names]
    if not found or found[0] not in data.coords or data[found[0]].size < 2:  # noqa: PLR2004 - a step
        raise ArgumentInvalid(
            f"The array has no dimension {what!r} with coordinates of two pixels or more; it has "
            f"{', '.join(map(str, data.dims)) or 'none'}. Name it {' or '.join(names[:3])}."
        )
    if data[found[0]].dtype.kind not in "iuf":
        raise ArgumentInvalid(
            f"The coordinates {found[0]!r} are {data[found[0]].dtype}, and no numbers. Give it "
            f"those of pixel centres, e.g. array.assign_coords({found[0]}=array.{found[0]}"
            ".astype(float))."
        )
    return found[0]


def _crs_of(data: Any, held: xr.Dataset, x: str) -> str:
    """Return the CRS that the data state.

    Raises:
        ArgumentInvalid: they state none.
    """
    if "rioxarray" in sys.modules and data.rio.crs is not None:
        return crs_name(data.rio.crs.to_wkt())
    for key in held.variables:
        stated = held[key].attrs
        for attribute in ("crs_wkt", "spatial_ref"):
            if stated.get(attribute):
                return crs_name(str(stated[attribute]))
    if data.attrs.get("crs"):
        return crs_name(str(data.attrs["crs"]))
    if x.lower() in _DEGREES:
        return WGS84
    raise ArgumentInvalid(
        "The array does not say in which CRS its coordinates are. Give it: crs='EPSG:32633'."
    )


def _time(data: xr.Dataset, space: set[Hashable]) -> dict[Hashable, str]:
    """Return how the dimension of dates is to be called.

    Raises:
        ArgumentInvalid: there is another dimension.
    """
    others = [dimension for dimension in data.dims if dimension not in space]
    dates = [d for d in others if d in data.coords and data[d].dtype.kind == "M"]
    rest = [dimension for dimension in others if dimension not in dates[:1]]
    if rest:
        raise ArgumentInvalid(
            f"An array may have x, y, bands and dates, and this one has a dimension {rest[0]!r} "
            f"besides. Select one of it, e.g. array.isel({rest[0]}=0), or give it coordinates of "
            "dates."
        )
    return dict.fromkeys(dates, TIME)
