"""The operators of CQL2: what each takes, and what it makes of it.

None is both "the item lacks it" and "unknown". Source: OGC 21-065r2, clauses 6 to 10.
"""

from __future__ import annotations

import math
import operator as op
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import shapely

from terrazzo.catalog.documents import item_period
from terrazzo.catalog.free_text import texts_of, without_accents
from terrazzo.catalog.space import footprint
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.catalog.space import Region

Kind: TypeAlias = Literal["truth", "number", "text", "time", "place", "list", "any"]
Value: TypeAlias = Any
"""None, a truth value, a number, a text, a datetime, a `Period`, a `Geometry` or a list."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)
_LONGEST_WILD = 200
"""Letters of a part of a pattern that is searched letter by letter."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time from one instant to another; None is open."""

    first: datetime | None
    last: datetime | None

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """The ends, as instants that compare."""
        return self.first or _BEGINNING, self.last or _END


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A geometry of a filter or an item."""

    shape: BaseGeometry
    """In longitude and latitude."""
    region: Region | None = None
    """The region of a filter's geometry, which knows the antimeridian."""
    is_footprint: bool = False
    """Whether an item lies there."""

    @classmethod
    def of_parts(cls, parts: Sequence[BaseGeometry], region: Region) -> Geometry:
        """Make a geometry of a box, which may be cut at the antimeridian."""
        shape = parts[0] if len(parts) == 1 else shapely.union_all(parts)
        return cls(shape, region)

    def meets(self, other: Geometry) -> bool:
        """Tell whether two geometries have a point in common."""
        for mine, theirs in ((self, other), (other, self)):
            if mine.region is not None and theirs.is_footprint:
                return mine.region.meets_shape(theirs.shape)
        return bool(self.shape.intersects(other.shape))


class Facts:
    """What a filter may ask of an item."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._item = item

    def get(self, name: str) -> Value:
        """Return a property; None where the item lacks it."""
        if name in {"id", "collection"}:
            return self._item.get(name)
        if name == "geometry":
            return self.footprint
        if name == "datetime":
            period = self.period
            return period.first if isinstance(period, Period) else period
        return self._item["properties"].get(name)

    @property
    def texts(self) -> Iterable[str]:
        """The texts in which words are looked for."""
        return texts_of(self._item)

    @cached_property
    def footprint(self) -> Geometry:
        """Where the item lies."""
        return Geometry(footprint(self._item), is_footprint=True)

    @cached_property
    def period(self) -> Period | datetime:
        """When it was: its instant, or its period."""
        first, last = item_period(self._item)
        return first if first == last else Period(first, last)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator."""

    gives: Kind
    """What it gives."""
    takes_kinds: tuple[tuple[Kind, ...], ...]
    """What each operand may be; the last stands for all that follow."""
    call: Callable[[list[Value]], Value]
    """Makes a value of the operands' values."""
    least: int
    """How many operands at least."""
    most: int
    """How many at most."""
    lazy: Callable[[Iterable[Value]], Value] | None = None
    """As `call`, for one that need not look at all its operands."""

    def takes(self, count: int) -> bool:
        """Tell whether it takes so many operands."""
        return self.least <= count <= self.most

    @property
    def arity(self) -> str:
        """How many operands, in words."""
        if self.least == self.most:
            return f"{self.least} operand{'s' * (self.least != 1)}"
        return f"at least {self.least} operands"

    def kinds_of(self, count: int) -> list[tuple[Kind, ...]]:
        """Return what each of so many operands may be."""
        last = self.takes_kinds[-1]
        return [self.takes_kinds[i] if i < len(self.takes_kinds) else last for i in range(count)]


def _all(values: Iterable[Value]) -> bool | None:
    unknown = False
    for value in values:
        if value is False:
            return False
        unknown |= value is not True
    return None if unknown else True


def _any(values: Iterable[Value]) -> bool | None:
    unknown = False
    for value in values:
        if value is True:
            return True
        unknown |= value is not False
    return None if unknown else False


def _not(values: list[Value]) -> bool | None:
    (value,) = values
    return (not value) if isinstance(value, bool) else None


def kind_of(value: Value) -> Kind | None:
    """Return what a value is; None for what cannot be compared."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, datetime) else None


def _alike(left: Value, right: Value) -> tuple[Value, Value, Kind | None]:
    """Return two values that can be compared and their kind; None where they cannot."""
    kinds = kind_of(left), kind_of(right)
    if kinds == ("time", "text"):
        right = _instant(right)
    elif kinds == ("text", "time"):
        left = _instant(left)
    kind = kind_of(left)
    return left, right, kind if kind == kind_of(right) else None


def _instant(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ArgumentInvalid:
        return None


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[list[Value]], bool | None]:
    """Return a comparison; `=` and `<>` also compare kinds and truth values."""
    exact = test in {op.eq, op.ne}

    def compare(values: list[Value]) -> bool | None:
        left, right = values
        if left is None or right is None or None in {kind_of(left), kind_of(right)}:
            return None
        left, right, kind = _alike(left, right)
        if left is None or right is None:
            return None
        if kind is None:
            return test is op.ne if exact else None
        return None if kind == "truth" and not exact else bool(test(left, right))

    return compare


_AT_LEAST, _AT_MOST, _EQUAL = _compared(op.ge), _compared(op.le), _compared(op.eq)


def _between(values: list[Value]) -> bool | None:
    value, low, high = values
    return _all([_AT_LEAST([value, low]), _AT_MOST([value, high])])


def _in(values: list[Value]) -> bool | None:
    value, among = values
    if value is None or not isinstance(among, list):
        return None
    return _any(_EQUAL([value, one]) for one in among)


def _like(values: list[Value]) -> bool | None:
    text, pattern = values
    if not isinstance(text, str) or not isinstance(pattern, str):
        return None
    return is_like(text, pattern)


def is_like(text: str, pattern: str) -> bool:
    r"""Tell whether a text is like a pattern: % is any letters, _ is one, \ takes it literally.

    Every part between two % is searched once, from left to right, so that no pattern is slow.

    Raises:
        ArgumentInvalid: a part between two % is long and has _ in it.
    """
    parts = _parts(pattern)
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return len(text) == len(first) and _stands(text, 0, first)
    if len(text) < sum(map(len, parts)) or not _stands(text, 0, first):
        return False
    place, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        place = _place(text, place, end, part)
        if place < 0:
            return False
        place += len(part)
    return _stands(text, end, last)


@lru_cache(maxsize=8)
def _parts(pattern: str) -> list[list[str | None]]:
    """Return the letters between the %, None for any; a search has one pattern for all items."""
    parts: list[list[str | None]] = [[]]
    literal = False
    for letter in pattern:
        if literal:
            parts[-1].append(letter)
            literal = False
        elif letter == "\\":
            literal = True
        elif letter == "%":
            parts.append([])
        else:
            parts[-1].append(None if letter == "_" else letter)
    return parts


def _place(text: str, start: int, end: int, part: Sequence[str | None]) -> int:
    """Return where a part stands first between two places; -1 where it does not."""
    plain = [letter for letter in part if letter is not None]
    if len(plain) == len(part):
        return text.find("".join(plain), start, end)
    if len(part) > _LONGEST_WILD:
        raise ArgumentInvalid(
            f"A pattern of LIKE has {len(part):,} letters between two %, some of which are _. It "
            f"may have {_LONGEST_WILD}."
        )
    pattern = "".join("." if letter is None else re.escape(letter) for letter in part)
    found = re.compile(pattern, re.DOTALL).search(text, start, end)
    return -1 if found is None else found.start()


def _stands(text: str, place: int, part: Sequence[str | None]) -> bool:
    return all(one is None or text[place + i] == one for i, one in enumerate(part))


def _without_case(values: list[Value]) -> Value:
    (text,) = values
    return text.casefold() if isinstance(text, str) else None


def _without_accents(values: list[Value]) -> Value:
    (text,) = values
    if not isinstance(text, str):
        return None
    return without_accents(text)


def _calculated(function: Callable[[Any, Any], Any]) -> Callable[[list[Value]], Value]:
    def calculate(values: list[Value]) -> Value:
        if not all(kind_of(value) == "number" for value in values):
            return None
        try:
            found = function(*(float(value) for value in values))
        except (ArithmeticError, ValueError):
            return None
        return found if isinstance(found, float) and math.isfinite(found) else None

    return calculate


def _placed(test: Callable[[Geometry, Geometry], bool]) -> Callable[[list[Value]], bool | None]:
    def place(values: list[Value]) -> bool | None:
        left, right = values
        if not isinstance(left, Geometry) or not isinstance(right, Geometry):
            return None
        return bool(test(left, right))

    return place


def _shapes(name: str) -> Callable[[list[Value]], bool | None]:
    predicate: Callable[[Any, Any], Any] = getattr(shapely, name)
    return _placed(lambda left, right: bool(predicate(left.shape, right.shape)))


def _ends(value: Value) -> tuple[datetime, datetime] | None:
    if isinstance(value, str):
        value = _instant(value)
    if isinstance(value, datetime):
        return value, value
    return value.ends if isinstance(value, Period) else None


def _timed(test: Callable[[Any, Any, Any, Any], bool]) -> Callable[[list[Value]], bool | None]:
    """Return a relation of two times, given the start and end of each."""

    def time(values: list[Value]) -> bool | None:
        left, right = map(_ends, values)
        return None if left is None or right is None else bool(test(*left, *right))

    return time


def _listed(test: Callable[[list[Any], list[Any]], bool]) -> Callable[[list[Value]], bool | None]:
    def compare(values: list[Value]) -> bool | None:
        left, right = values
        if not isinstance(left, list) or not isinstance(right, list):
            return None
        return test(left, right)

    return compare


def _holds(values: list[Any], wanted: list[Any]) -> bool:
    return all(any(_EQUAL([value, one]) is True for value in values) for one in wanted)


def _share(left: list[Any], right: list[Any]) -> bool:
    return any(_EQUAL([one, other]) is True for one in left for other in right)


def _period(values: list[Value]) -> Period | None:
    first, last = (_instant(v) if isinstance(v, str) else v for v in values)
    known = isinstance(first, datetime) and isinstance(last, datetime) and first <= last
    return Period(first, last) if known else None


_SCALAR: tuple[Kind, ...] = ("number", "text", "time", "truth")
_ORDERED: tuple[Kind, ...] = ("number", "text", "time")
_MOST = 10_000


def _logic(lazy: Callable[[Iterable[Value]], Value]) -> Operator:
    return Operator("truth", (("truth",),), lazy, 1, _MOST, lazy)


def _pair(call: Callable[[list[Value]], Value], *kinds: Kind, gives: Kind = "truth") -> Operator:
    return Operator(gives, (kinds,), call, 2, 2)


OPERATORS: Mapping[str, Operator] = {
    "and": _logic(_all),
    "or": _logic(_any),
    "not": Operator("truth", (("truth",),), _not, 1, 1),
    "=": _pair(_EQUAL, *_SCALAR),
    "<>": _pair(_compared(op.ne), *_SCALAR),
    "<": _pair(_compared(op.lt), *_ORDERED),
    "<=": _pair(_AT_MOST, *_ORDERED),
    ">": _pair(_compared(op.gt), *_ORDERED),
    ">=": _pair(_AT_LEAST, *_ORDERED),
    "like": _pair(_like, "text"),
    "between": Operator("truth", (_ORDERED,), _between, 3, 3),
    "in": Operator("truth", (_SCALAR, ("list",)), _in, 2, 2),
    "isNull": Operator("truth", ((*_SCALAR, "place", "list"),), lambda v: v[0] is None, 1, 1),
    "casei": Operator("text", (("text",),), _without_case, 1, 1),
    "accenti": Operator("text", (("text",),), _without_accents, 1, 1),
    "+": _pair(_calculated(op.add), "number", gives="number"),
    "-": _pair(_calculated(op.sub), "number", gives="number"),
    "*": _pair(_calculated(op.mul), "number", gives="number"),
    "/": _pair(_calculated(op.truediv), "number", gives="number"),
    "div": _pair(_calculated(lambda a, b: float(math.trunc(a / b))), "number", gives="number"),
    "%": _pair(_calculated(math.fmod), "number", gives="number"),
    "^": _pair(_calculated(op.pow), "number", gives="number"),
    "s_intersects": _pair(_placed(Geometry.meets), "place"),
    "s_disjoint": _pair(_placed(lambda a, b: not a.meets(b)), "place"),
    "s_contains": _pair(_shapes("contains"), "place"),
    "s_crosses": _pair(_shapes("crosses"), "place"),
    "s_equals": _pair(_shapes("equals"), "place"),
    "s_overlaps": _pair(_shapes("overlaps"), "place"),
    "s_touches": _pair(_shapes("touches"), "place"),
    "s_within": _pair(_shapes("within"), "place"),
    "interval": _pair(_period, "time", "text", gives="time"),
    "t_after": _pair(_timed(lambda a, _b, _c, d: a > d), "time", "text"),
    "t_before": _pair(_timed(lambda _a, b, c, _d: b < c), "time", "text"),
    "t_contains": _pair(_timed(lambda a, b, c, d: a < c and b > d), "time", "text"),
    "t_disjoint": _pair(_timed(lambda a, b, c, d: b < c or a > d), "time", "text"),
    "t_during": _pair(_timed(lambda a, b, c, d: a > c and b < d), "time", "text"),
    "t_equals": _pair(_timed(lambda a, b, c, d: a == c and b == d), "time", "text"),
    "t_finishedBy": _pair(_timed(lambda a, b, c, d: a < c and b == d), "time", "text"),
    "t_finishes": _pair(_timed(lambda a, b, c, d: a > c and b == d), "time", "text"),
    "t_intersects": _pair(_timed(lambda a, b, c, d: a <= d and b >= c), "time", "text"),
    "t_meets": _pair(_timed(lambda _a, b, c, _d: b == c), "time", "text"),
    "t_metBy": _pair(_timed(lambda a, _b, _c, d: a == d), "time", "text"),
    "t_overlappedBy": _pair(_timed(lambda a, b, c, d: c < a < d < b), "time", "text"),
    "t_overlaps": _pair(_timed(lambda a, b, c, d: a < c < b < d), "time", "text"),
    "t_startedBy": _pair(_timed(lambda a, b, c, d: a == c and b > d), "time", "text"),
    "t_starts": _pair(_timed(lambda a, b, c, d: a == c and b < d), "time", "text"),
    "a_containedBy": _pair(_listed(lambda a, b: _holds(b, a)), "list"),
    "a_contains": _pair(_listed(_holds), "list"),
    "a_equals": _pair(_listed(lambda a, b: _holds(a, b) and _holds(b, a)), "list"),
    "a_overlaps": _pair(_listed(_share), "list"),
}
"""All operators by name."""
