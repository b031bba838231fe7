"""Which modules of GRASS there are, what they may be given, and how far they look.

A module that is not here is not run, and neither is an argument that is not: no module here
reads or writes anything but its maps. Two that one would look for are left out, as of GRASS 8.2
(each seen by running it): how far r.geomorphon looks is rounded from where its region ends, so that
blocks disagree; and r.param.scale gives other numbers each time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.grass.cores import CORES, threads
from terrazzo.grass.expressions import reach_of, read_expression

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BITS: Final = 128
"""Of a number that is told back."""


@dataclass(frozen=True, slots=True)
class Option:
    """What a module may be given beside its maps."""

    kind: str
    """`number`, `whole`, `odd` (whole and odd), `cores` (whole, of this machine) or `word`."""
    low: float = -math.inf
    """Least number."""
    high: float = math.inf
    """Greatest number."""
    words: tuple[str, ...] = ()
    """What a word may be."""

    def text(self, name: str, value: Any) -> str:
        """Return a value as GRASS is given it.

        Raises:
            ArgumentInvalid: it is none that the option takes.
        """
        if self.kind == "word":
            if value in self.words:
                return str(value)
            near = suggest(value, self.words) if isinstance(value, str) else ""
            raise ArgumentInvalid(
                f"`{name}` is one of {', '.join(self.words)}, not {value!r}.{near}"
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        whole = number and (isinstance(value, int) or value.is_integer())
        if (
            not number
            or not self.low <= value <= self.high
            or (self.kind != "number" and not whole)
            or (self.kind == "odd" and value % 2 == 0)
        ):
            what = {"number": "a number", "odd": "an odd number"}.get(self.kind, "a whole number")
            long = isinstance(value, int) and value.bit_length() > _MOST_BITS
            told = "one so long" if long else repr(value)
            raise ArgumentInvalid(f"`{name}` is {what}{self._range()}, not {told}.")
        if self.kind == "cores":
            return str(min(int(value), len(os.sched_getaffinity(0))))
        return repr(float(value)) if self.kind == "number" else str(int(value))

    def _range(self) -> str:
        if math.isinf(self.high):
            return "" if math.isinf(self.low) else f" from {self.low:g}"
        return f" from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Output:
    """A map that a module makes."""

    key: str
    """Name of the parameter that names it, and of the map itself."""
    integer: bool = False
    """Whether it holds whole numbers: ids, directions, kinds."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of GRASS."""

    name: str
    """As GRASS calls it."""
    summary: str
    """What it computes, a sentence."""
    takes: str
    """Parameter that takes the raster; empty for r.mapcalc, which takes bands by name."""
    options: Mapping[str, Option]
    """By parameter."""
    outputs: tuple[Output, ...]
    """Maps that it can make; those that are always made first."""
    flags: str = ""
    """Flags that it may be given."""
    always: int = 1
    """How many outputs are made where nobody names any; of those none may be missing either if
    `needs_all`."""
    needs_all: bool = False
    """Whether the module makes the first outputs, `always` of them, whether wanted or not."""
    reach: Callable[[Mapping[str, Any]], int] | None = None
    """Pixels around a pixel that it looks at; None = all that there are."""
    bytes_per_pixel: int = 0
    """What it holds of a whole raster while it runs."""
    fills: bool = False
    """Whether it may make data of a raster without any."""
    smallest: int = 1
    """Rows that a raster must have; one with less gives no-data."""

    @property
    def is_local(self) -> bool:
        """Whether a pixel depends on its surroundings only, so that blocks can be computed."""
        return self.reach is not None

    @property
    def keeps_bands(self) -> bool:
        """Whether it makes of each band one, rather than bands with names of their own."""
        return [output.key for output in self.outputs] == ["output"]


@dataclass(frozen=True, slots=True)
class Call:
    """A module with its parameters checked."""

    module: Module
    command: list[str]
    """What GRASS is asked for; maps are called m0, m1 ... and like the outputs."""
    outputs: tuple[Output, ...]
    """What is wanted of it, in the order in which it was asked for."""
    bands: tuple[str, ...] | None
    """Bands that r.mapcalc uses; None for modules that take one raster."""

    @property
    def words(self) -> list[str]:
        """What GRASS is asked for now, here: with a number of threads also where none was given."""
        given = any(word.startswith("nprocs=") for word in self.command)
        if given or "nprocs" not in self.module.options:
            return self.command
        return [*self.command, f"nprocs={threads()}"]


def call_of(
    name: str,
    parameters: Mapping[str, Any],
    flags: str = "",
    outputs: Sequence[str] | None = None,
    bands: Sequence[str] = (),
) -> Call:
    """Check what a module is to be called with.

    Args:
        name: of the module.
        parameters: by GRASS's own names, without maps.
        flags: letters.
        outputs: maps that are wanted; None for what it makes by itself.
        bands: of the raster, for r.mapcalc.

    Raises:
        ArgumentInvalid: it is no module, parameter, value, flag or output that there is here.
        BandNotFound: an expression uses a band that is not there.
    """
    _check_kinds(name, parameters, flags, outputs)
    if name not in MODULES:
        raise ArgumentInvalid(
            f"There is no module {name!r} here.{suggest(name, tuple(MODULES))} Modules: "
            f"{', '.join(MODULES)}."
        )
    module = MODULES[name]
    if set(flags) - set(module.flags):
        raise ArgumentInvalid(
            f"{name} takes the flags {', '.join(module.flags) or 'none'} here, not {flags!r}."
        )
    if name == "r.mapcalc":
        return _mapcalc(module, parameters, outputs, bands)
    texts = _texts(module, parameters)
    wanted = _wanted(module, outputs)
    made = tuple(dict.fromkeys((*(module.outputs[: module.always] if module.needs_all else ()),
                                *wanted)))  # fmt: skip
    command = [
        name,
        f"{module.takes}=m0",
        *(f"{output.key}={output.key}" for output in made),
        *(f"{key}={text}" for key, text in texts.items()),
        *([f"-{''.join(sorted(set(flags)))}"] if flags else []),
    ]
    return Call(module, command, wanted, None)


def _check_kinds(name: object, parameters: object, flags: object, outputs: object) -> None:
    """Refuse arguments of other types; whoever calls from a program may give any.

    Raises:
        ArgumentInvalid: says which.
    """
    texts = outputs is None or (
        isinstance(outputs, Sequence)
        and not isinstance(outputs, str)
        and all(isinstance(one, str) for one in outputs)
    )
    if not (isinstance(name, str) and isinstance(flags, str) and texts):
        raise ArgumentInvalid(
            "A module is called with its name and its flags as texts and outputs as a list of "
            "texts, e.g. 'r.slope.aspect', 'e' and ['slope']."
        )
    if not isinstance(parameters, Mapping):
        raise ArgumentInvalid("Parameters of a module are given by name, e.g. {'zscale': 2}.")


def _texts(module: Module, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as GRASS is given them."""
    known = module.options
    for key in parameters:
        if key not in known:
            raise ArgumentInvalid(
                f"{module.name} takes no parameter {key!r} here.{suggest(str(key), tuple(known))} "
                f"Parameters: {', '.join(known) or 'none'}; maps are not named."
            )
    return {key: known[key].text(key, value) for key, value in parameters.items()}


def _wanted(module: Module, outputs: Sequence[str] | None) -> tuple[Output, ...]:
    known = {output.key: output for output in module.outputs}
    if outputs is None:
        return module.outputs[: module.always]
    for key in outputs:
        if key not in known:
            raise ArgumentInvalid(
                f"{module.name} makes no {key!r} here.{suggest(str(key), tuple(known))} Outputs: "
                f"{', '.join(known)}."
            )
    if not outputs or len(set(outputs)) != len(outputs):
        raise ArgumentInvalid(f"Name outputs of {module.name} once each: {', '.join(known)}.")
    return tuple(known[key] for key in outputs)


def _mapcalc(
    module: Module,
    parameters: Mapping[str, Any],
    outputs: Sequence[str] | None,
    bands: Sequence[str],
) -> Call:
    wanted = _wanted(module, outputs)
    text = parameters.get("expression")
    if not isinstance(text, str) or len(parameters) > 1:
        raise ArgumentInvalid("r.mapcalc takes one parameter, `expression`, a text.")
    read = read_expression(text, bands)
    command = [module.name, f"expression=output = {read.text}"]
    return Call(module, command, wanted, read.bands)


def _size(parameters: Mapping[str, Any]) -> int:
    """Look half a window far; GRASS's own windows are 3 pixels wide."""
    return int(parameters.get("size", 3)) // 2


_NEIGHBOURS = (
    "average", "median", "mode", "minimum", "maximum", "range", "stddev", "sum", "count",
    "variance", "diversity", "interspersion", "quart1", "quart3", "perc90", "quantile",
)  # fmt: skip
_NPROCS = Option("cores", 1, CORES)
_OUTPUT = (Output("output"),)


def _named(*names: str, integers: Sequence[str] = ()) -> tuple[Output, ...]:
    return tuple(Output(name, name in integers) for name in names)


_LIST = (
    Module(
        "r.slope.aspect",
        "Slope, aspect, curvatures and partial derivatives of elevation.",
        "elevation",
        {
            "format": Option("word", words=("degrees", "percent")),
            "zscale": Option("number", 1e-9, 1e9),
            "min_slope": Option("number", 0, 1e6),
            "nprocs": _NPROCS,
        },
        _named("slope", "aspect", "pcurvature", "tcurvature", "dx", "dy", "dxx", "dyy", "dxy"),
        flags="en",
        reach=lambda _: 1,
    ),
    Module(
        "r.relief",
        "Shaded relief, 0 to 255.",
        "input",
        {
            "altitude": Option("number", 0, 90),
            "azimuth": Option("number", 0, 360),
            "zscale": Option("number", 1e-9, 1e9),
            "scale": Option("number", 1e-9, 1e9),
        },
        _named("output", integers=("output",)),
        reach=lambda _: 1,
        smallest=2,
    ),
    Module(
        "r.neighbors",
        "A statistic of the pixels around each pixel.",
        "input",
        {
            "size": Option("odd", 1, 129),
            "method": Option("word", words=_NEIGHBOURS),
            "quantile": Option("number", 0, 1),
            "weighting_function": Option("word", words=("none", "gaussian", "exponential")),
            "weighting_factor": Option("number", -1e6, 1e6),
            "nprocs": _NPROCS,
        },
        _OUTPUT,
        flags="c",
        reach=_size,
    ),
    Module(
        "r.mapcalc",
        "An expression over the bands of a raster, and their neighbours.",
        "",
        {"expression": Option("word")},
        _OUTPUT,
        fills=True,
        reach=lambda parameters: reach_of(str(parameters.get("expression", ""))),
    ),
    Module(
        "r.watershed",
        "Flow accumulation, drainage, streams and basins of elevation.",
        "elevation",
        {
            "threshold": Option("whole", 1, 1 << 30),
            "max_slope_length": Option("number", 0, 1e9),
            "convergence": Option("whole", 1, 10),
        },
        _named(
            "accumulation",
            "drainage",
            "basin",
            "stream",
            "half_basin",
            "tci",
            "spi",
            "length_slope",
            "slope_steepness",
            integers=("drainage", "basin", "stream", "half_basin"),
        ),
        flags="s4ab",
        bytes_per_pixel=80,
    ),
    Module(
        "r.fill.dir",
        "Elevation without depressions, and the direction of its flow.",
        "input",
        {"format": Option("word", words=("agnps", "answers", "grass"))},
        _named("output", "direction", "areas", integers=("direction", "areas")),
        flags="f",
        always=2,
        needs_all=True,
        bytes_per_pixel=40,
    ),
    Module(
        "r.topidx",
        "Topographic index ln(a / tan(slope)) of elevation.",
        "input",
        {},
        _OUTPUT,
        bytes_per_pixel=40,
    ),
    Module(
        "r.clump",
        "Numbers of the areas of pixels that lie together and have one value.",
        "input",
        {"threshold": Option("number", 0, 1), "minsize": Option("whole", 1, 1 << 30)},
        _named("output", integers=("output",)),
        flags="d",
        bytes_per_pixel=40,
    ),
    Module(
        "r.grow.distance",
        "Distance to the nearest pixel with data, and its value.",
        "input",
        {
            "metric": Option(
                "word", words=("euclidean", "squared", "maximum", "manhattan", "geodesic")
            ),
            "minimum_distance": Option("number", 0, 1e9),
            "maximum_distance": Option("number", 0, 1e9),
        },
        _named("distance", "value"),
        flags="mn",
        fills=True,
        bytes_per_pixel=40,
    ),
)
MODULES: Final[Mapping[str, Module]] = MappingProxyType({one.name: one for one in _LIST})
"""Every module that may be run, by name."""
