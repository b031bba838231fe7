"""What CF attributes say of a variable: no-data, scale, classes, wavelength, and its bands."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.arrays.cf_axes import number_of
from terrazzo.storage.arrays.types import ArrayBand, BitField
from terrazzo.storage.set_aside import is_kept, is_long, stand_in, with_stand_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from terrazzo.cube import Values

MOST_BANDS: Final = 512
"""Bands that a file may have."""
_MICROMETRES: Final = {
    "nm": 1e-3, "nanometer": 1e-3, "nanometers": 1e-3, "nanometre": 1e-3, "nanometres": 1e-3,
    "um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometers": 1.0,
    "micrometre": 1.0, "micrometres": 1.0, "m": 1e6,
}  # fmt: skip
_WAVELENGTH: Final = (
    "radiation_wavelength",
    "wavelength",
    "central_wavelength",
    "center_wavelength",
)
_COMMON: Final = (
    ("coastal", 0.40, 0.45), ("blue", 0.45, 0.515), ("green", 0.515, 0.60), ("red", 0.60, 0.69),
    ("rededge", 0.69, 0.79), ("nir", 0.79, 0.90), ("nir09", 0.90, 1.05), ("cirrus", 1.35, 1.40),
    ("swir16", 1.55, 1.75), ("swir22", 2.08, 2.35), ("lwir", 10.4, 12.5),
)  # fmt: skip
_LABELLED: Final = frozenset({"band", "bands"})
_FLAGS: Final = ("values", "masks", "meanings")
_PAIR: Final = 2
_ALL: Final = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class CfBand:
    """A band, and where its numbers are."""

    band: ArrayBand
    """What it is."""
    variable: str
    """Name of the variable."""
    chosen: Mapping[str, int] = field(default_factory=dict)
    """Position in each further dimension."""
    unsigned: bool = False
    """Whether its signed type stands for an unsigned one."""
    missing: tuple[float, ...] = ()
    """More numbers that stand for no data."""
    valid: tuple[float, float] = _ALL
    """Numbers outside of this stand for no data."""
    set_aside: bool = False
    """Whether its no-data is a number that the file does not state."""

    def cleaned(self, values: Values) -> Values:
        """Return numbers in the band's type, with one mark for no data.

        Raises:
            ValueError: a pixel has the number that was set aside for no data.
        """
        found = values.view(values.dtype.str.replace("i", "u")) if self.unsigned else values
        found = found.astype(np.dtype(self.band.dtype), copy=False)
        mark = self.band.nodata
        if mark is None or not (self.missing or self.valid != _ALL):
            return found
        low, high = self.valid
        with np.errstate(invalid="ignore"):
            bad = (found < low) | (found > high)
            for number in self.missing:
                bad |= found == number
        if self.set_aside:
            return with_stand_in(found, bad)
        return np.where(bad, found.dtype.type(mark), found) if bad.any() else found


def bands_of(data: xr.Dataset, name: str, further: Sequence[str], *, alone: bool) -> list[CfBand]:
    """Return the bands of a variable: one, or one per position of its further dimensions.

    Args:
        data: the variables of its group, undecoded.
        name: the variable.
        further: its dimensions besides time, y and x.
        alone: whether it is the only variable of its cube, so that labels of bands say enough.

    Raises:
        ArgumentInvalid: there are too many.
    """
    variable = data.variables[name]
    base = _band(data, name, variable)
    sizes = {dimension: int(data.sizes[dimension]) for dimension in further}
    if math.prod(sizes.values()) > MOST_BANDS:
        shown = ", ".join(f"{dimension} ({size})" for dimension, size in sizes.items())
        raise ArgumentInvalid(
            f"Variable {name!r} has the further dimensions {shown}, which would make "
            f"{math.prod(sizes.values()):,} bands; {MOST_BANDS} are taken in at most. Choose some "
            "positions of them and save those first."
        )
    labels = {dimension: _labels(data, dimension) for dimension in further}
    found = []
    for position in itertools.product(*(range(size) for size in sizes.values())):
        chosen = dict(zip(sizes, position, strict=True))
        texts = [labels[d][0][i] for d, i in chosen.items() if sizes[d] > 1]
        only = [d for d in sizes if sizes[d] > 1]
        plain = alone and len(only) == 1 and only[0].lower() in _LABELLED and labels[only[0]][2]
        labelled = [d for d in chosen if sizes[d] > 1 or d in data.variables]
        told = [f"{d} {labels[d][0][chosen[d]]}{labels[d][1]}" for d in labelled]
        band = replace(
            base.band,
            name=texts[0] if plain else "_".join([name, *texts]),
            description=", ".join(filter(None, (base.band.description, *told))),
            wavelength_um=_position_wavelength(data, chosen) or base.band.wavelength_um,
        )
        found.append(replace(base, band=band, chosen=chosen))
    return found


def with_common_names(bands: Sequence[CfBand]) -> list[CfBand]:
    """Give bands the common name of their wavelength, where no other band has the same one."""
    names = [_common_name(one.band.wavelength_um) for one in bands]
    return [
        replace(one, band=replace(one.band, common_name=name)) if names.count(name) == 1 else one
        for one, name in zip(bands, names, strict=True)
    ]


def _common_name(wavelength_um: float | None) -> str:
    if wavelength_um is None:
        return ""
    return next((name for name, low, high in _COMMON if low <= wavelength_um < high), "")


def _labels(data: xr.Dataset, dimension: str) -> tuple[list[str], str, bool]:
    """Return labels of a dimension, the unit behind them, and whether they are words."""
    size = int(data.sizes[dimension])
    variable = data.variables.get(dimension)
    if variable is None or variable.shape != (size,):
        return [str(index) for index in range(size)], "", False
    values, unit = variable.to_numpy(), str(variable.attrs.get("units", ""))
    if values.dtype.kind in "OUST":
        texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
        words = [text.strip() for text in texts]
    else:
        words = [_short(number) for number in values.tolist()]
    if len(set(words)) < size or not all(words):
        return [str(index) for index in range(size)], "", False
    shown = f" {unit}" if unit and unit not in {"1", "-"} else ""
    return words, shown, values.dtype.kind in "OUST"


def _short(number: object) -> str:
    return f"{number:.7g}" if isinstance(number, float) else str(number)


def _band(data: xr.Dataset, name: str, variable: xr.Variable) -> CfBand:
    attributes = variable.attrs
    unsigned = _is_unsigned(variable)
    stored = np.dtype(variable.dtype.str.replace("i", "u")) if unsigned else variable.dtype
    dtype = _image_type(stored)
    marks = marks_of(attributes, dtype)
    scale = number_of(attributes.get("scale_factor"), 1.0)
    offset = number_of(attributes.get("add_offset"), 0.0)
    valid = valid_range(attributes, dtype, (scale, offset))
    nodata = next((float(mark) for mark in marks if is_kept(dtype, mark)), None)
    set_aside = is_long(dtype) and nodata is None and (bool(marks) or valid != _ALL)
    if set_aside:
        nodata = float(stand_in(dtype))
    elif nodata is None and valid != _ALL:
        nodata = _free_number(dtype, valid)
    meanings = (
        (attributes.get("long_name"), attributes.get("standard_name"))
        if attributes.get("long_name")
        else (attributes.get("standard_name"),)
    )
    classes = _classes(attributes, dtype)
    return CfBand(
        ArrayBand(
            name,
            dtype.name,
            nodata=nodata,
            scale=scale or 1.0,
            offset=offset,
            unit=str(attributes.get("units", "")),
            description=str(next(iter(filter(None, meanings)), "")),
            wavelength_um=_wavelength(data, attributes),
            classes=classes or (((0, "false"), (1, "true")) if stored.kind == "b" else ()),
            bits=_bits(attributes, dtype),
            flags=dtype.kind in "iu" and any(f"flag_{key}" in attributes for key in _FLAGS),
        ),
        name,
        unsigned=unsigned,
        missing=tuple(m for m in marks if m != nodata and not math.isnan(m)),
        valid=valid,
        set_aside=set_aside,
    )


def _image_type(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that an image of these numbers has."""
    if stored.kind == "b":
        return np.dtype(np.uint8)
    if stored.kind == "f" and stored.itemsize not in {4, 8}:
        return np.dtype(np.float32 if stored.itemsize < 4 else np.float64)  # noqa: PLR2004
    return stored.newbyteorder("=")


def _is_unsigned(variable: xr.Variable) -> bool:
    return variable.dtype.kind == "i" and str(variable.attrs.get("_Unsigned", "")).lower() == "true"


def marks_of(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> list[float]:
    """Return the numbers that stand for no data, `_FillValue` first; those that can occur.

    Those of integers are Python's, which are exact whatever their size.
    """
    found: list[float] = []
    for key in ("_FillValue", "missing_value"):
        try:
            told = np.asarray(attributes.get(key, ())).ravel()
            numbers = (told if told.dtype.kind in "iu" else told.astype(np.float64)).tolist()
        except (TypeError, ValueError):
            continue
        for number in numbers:
            mark = _occurring(number, dtype)
            if mark is not None and not any(_same(mark, known) for known in found):
                found.append(mark)
    return found


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _occurring(number: float, dtype: np.dtype[Any]) -> float | None:
    """Return a number as a type holds it; None if it does not."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(number))
    if not math.isfinite(number) or number != int(number):
        return None
    whole, info = int(number), np.iinfo(dtype)
    if dtype.kind == "u" and whole < 0:
        whole += 2 ** (8 * dtype.itemsize)
    return whole if info.min <= whole <= info.max else None


def valid_range(
    attributes: Mapping[str, Any], dtype: np.dtype[Any], packing: tuple[float, float]
) -> tuple[float, float]:
    """Return the range of valid numbers as stored.

    A range of floats is one of physical values where numbers are packed (NetCDF User's Guide).
    """
    told = attributes.get("valid_range")
    limits: list[Any] = [attributes.get("valid_min"), attributes.get("valid_max")]
    if told is not None and np.asarray(told).size == _PAIR:
        limits = np.asarray(told).ravel().tolist()
        kind = np.asarray(told).dtype.kind
    else:
        kind = "f" if any(np.asarray(v).dtype.kind == "f" for v in limits if v is not None) else "i"
    low, high = number_of(limits[0], math.nan), number_of(limits[1], math.nan)
    scale, offset = packing
    if kind == "f" and dtype.kind in "iu" and packing != (1.0, 0.0) and scale:
        low, high = sorted(((low - offset) / scale, (high - offset) / scale))
        low, high = low - 1e-6 * abs(low), high + 1e-6 * abs(high)
    elif dtype.kind == "u":
        low, high = (v + 2.0 ** (8 * dtype.itemsize) if v < 0 else v for v in (low, high))
    low, high = -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high
    return (low, high) if low <= high else _ALL


def _free_number(dtype: np.dtype[Any], valid: tuple[float, float]) -> float | None:
    """Return a number that no valid pixel has; None if the type has none."""
    if dtype.kind == "f":
        return math.nan
    info = np.iinfo(dtype)
    for number in (info.min, info.max) if dtype.kind == "i" else (info.max, info.min):
        if not valid[0] <= number <= valid[1]:
            return float(number)
    return None


def _classes(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[tuple[int, str], ...]:
    """Return numbers and meanings of `flag_values` and `flag_meanings` (CF 3.5)."""
    if "flag_masks" in attributes:
        return ()
    numbers = _flag_numbers(attributes.get("flag_values"), dtype)
    words = str(attributes.get("flag_meanings", "")).split()
    if len(words) != len(numbers) or len(set(numbers)) != len(numbers):
        return ()
    return tuple(zip(numbers, words, strict=True))


def _bits(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[BitField, ...]:
    """Return what bits say by `flag_masks`, with `flag_values` or without (CF 3.5).

    A mask without values is true or false. None where a mask has gaps, or lists do not fit.
    """
    room = 2 ** (8 * dtype.itemsize) - 1
    masks = [mask & room for mask in _flag_numbers(attributes.get("flag_masks"), dtype)]
    words = str(attributes.get("flag_meanings", "")).split()
    stated = "flag_values" in attributes
    values = _flag_numbers(attributes.get("flag_values"), dtype) if stated else masks
    if not masks or not len(masks) == len(words) == len(values):
        return ()
    fields: dict[int, dict[int, str]] = {}
    for mask, value, word in zip(masks, values, words, strict=True):
        low = (mask & -mask).bit_length() - 1
        if mask <= 0 or (mask >> low) & ((mask >> low) + 1) or (value & room) & ~mask:
            return ()
        known = fields.setdefault(mask, {})
        if not stated:
            known[0] = f"not_{word}"
        known[(value & room) >> low] = word
    return tuple(
        BitField((mask & -mask).bit_length() - 1, mask.bit_count(), tuple(known.items()))
        for mask, known in fields.items()
    )


def _flag_numbers(told: Any, dtype: np.dtype[Any]) -> list[int]:
    """Return a list of whole numbers, negative ones as an unsigned type has them."""
    if told is None or dtype.kind not in "iu":
        return []
    try:
        if isinstance(told, str):
            numbers = [int(text.strip(" bBsSlLuU")) for text in told.split(",")]
        else:
            numbers = [int(number) for number in np.asarray(told).ravel().tolist()]
    except (TypeError, ValueError):
        return []
    wrapped = 2 ** (8 * dtype.itemsize) if dtype.kind == "u" else 0
    return [number + wrapped if number < 0 else number for number in numbers]


def _wavelength(data: xr.Dataset, attributes: Mapping[str, Any]) -> float | None:
    """Return the wavelength that a variable's attributes or its scalar coordinates state."""
    for key in _WAVELENGTH:
        if key in attributes:
            unit = str(attributes.get(f"{key}_units", attributes.get(f"{key}_unit", "nm")))
            return _micrometres(number_of(attributes[key], math.nan), unit)
    for name in str(attributes.get("coordinates", "")).split():
        known = data.variables.get(name)
        if known is not None and known.size == 1 and _is_wavelength(name, known):
            number = number_of(known.to_numpy(), math.nan)
            return _micrometres(number, str(known.attrs.get("units", "")))
    return None


def _position_wavelength(data: xr.Dataset, chosen: Mapping[str, int]) -> float | None:
    """Return the wavelength of a position of further dimensions."""
    for name, variable in data.variables.items():
        if len(variable.dims) == 1 and str(variable.dims[0]) in chosen:
            if not _is_wavelength(str(name), variable) or variable.dtype.kind not in "iuf":
                continue
            number = float(variable.to_numpy()[chosen[str(variable.dims[0])]])
            return _micrometres(number, str(variable.attrs.get("units", "")))
    return None


def _is_wavelength(name: str, variable: xr.Variable) -> bool:
    standard = str(variable.attrs.get("standard_name", ""))
    return standard == "radiation_wavelength" or name.lower() in _WAVELENGTH


def _micrometres(number: float, unit: str) -> float | None:
    factor = _MICROMETRES.get(unit.strip().lower())
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return float(f"{number * factor:.9g}")
