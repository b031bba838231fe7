"""Which columns items need: the types that their members have, found by looking at all of them.

A column has one type and items of one collection may not agree on one: numbers here, texts there,
nulls, integers beyond 64 bits. Where the column cannot say what an item says, the item's own value
is noted as a patch, a path and a value, so that reading gives back exactly what was written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import shapely
from shapely.geometry import mapping, shape

from terrazzo.errors import ArgumentInvalid, FormatUnsuitable
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

Patch: TypeAlias = list[Any]
"""A path of keys and indices from the item's root, and the value there."""

PROJECTED: Final = "proj:geometry"
"""A geometry in properties and assets; binary, as other readers expect it."""
MOST_FIELDS: Final = 10_000

_NULL, _BOOL, _INT, _FLOAT, _TEXT, _STRUCT, _LIST, _BYTES, _BIG, _HUGE = (1 << n for n in range(10))
_KINDS: Final = {
    type(None): _NULL, bool: _BOOL, int: _INT, float: _FLOAT, str: _TEXT, dict: _STRUCT,
    list: _LIST, bytes: _BYTES,
}  # fmt: skip
_EXACT: Final = 2**53
_LARGEST: Final = 2**63
_NOT_A_SHAPE: Final = (
    KeyError, ValueError, TypeError, AttributeError, IndexError, shapely.errors.ShapelyError,
)  # fmt: skip


@dataclass(slots=True)
class Member:
    """What was seen in one place of the items."""

    kinds: int = 0
    """The JSON types, a bit each."""
    members: dict[str, Member] = field(default_factory=dict)
    """Of objects."""
    entries: Member | None = None
    """Of lists."""
    odd: bool = False
    """Whether the column differs from some item's value here or below; known after `settle`."""

    def see(self, value: Any, most: list[int]) -> None:
        """Take in a value; `most` holds how many more members may be met.

        Raises:
            FormatUnsuitable: there are too many.
        """
        kind = _KINDS[type(value)]
        self.kinds |= kind
        if kind == _STRUCT:
            members = self.members
            for key, one in value.items():
                member = members.get(key)
                if member is None:
                    member = members[key] = self._another(most)
                member.see(one, most)
        elif kind == _LIST:
            if self.entries is None:
                self.entries = Member()
            for one in value:
                self.entries.see(one, most)
        elif kind == _INT and not -_EXACT <= value <= _EXACT:
            self.kinds |= _BIG if -_LARGEST <= value < _LARGEST else _HUGE

    @staticmethod
    def _another(most: list[int]) -> Member:
        most[0] -= 1
        if most[0] < 0:
            raise FormatUnsuitable(
                f"The items have more than {MOST_FIELDS:,} different members (most likely every "
                "item names its assets in its own way), and each would be a column. Export to a "
                "file that ends in .ndjson."
            )
        return Member()

    def settle(self, *, entry: bool = False) -> bool:
        """Decide where columns differ from values; an entry of a list may be null."""
        below = [member.settle() for member in self.members.values()]
        if self.entries is not None:
            below.append(self.entries.settle(entry=True))
        self.odd = self._mixed or (not entry and bool(self.kinds & _NULL)) or any(below)
        return self.odd

    @property
    def _mixed(self) -> bool:
        """Whether no type of a column fits all values; they become text."""
        kinds = self.kinds & ~_NULL
        if kinds == _STRUCT:
            return not self.members
        return kinds not in {
            0,
            _BOOL,
            _INT,
            _INT | _BIG,
            _FLOAT,
            _INT | _FLOAT,
            _TEXT,
            _LIST,
            _BYTES,
        }

    @property
    def is_binary(self) -> bool:
        """Whether the column is of geometries as WKB."""
        return self.kinds & ~_NULL == _BYTES

    def type(self) -> pa.DataType:
        """Return the type of the column."""
        import pyarrow as pa  # noqa: PLC0415 - takes a while, and only this needs it

        kinds = self.kinds & ~_NULL
        if self._mixed or kinds in {0, _TEXT}:
            return pa.string()
        if kinds == _STRUCT:
            return pa.struct([(key, one.type()) for key, one in sorted(self.members.items())])
        if kinds == _LIST:
            return pa.list_(self.entries.type() if self.entries else pa.string())
        if kinds == _BYTES:
            return pa.binary()
        if kinds == _BOOL:
            return pa.bool_()
        return pa.float64() if kinds & _FLOAT else pa.int64()

    def column(self, value: Any, path: tuple[str | int, ...], patches: list[Patch]) -> Any:
        """Return what the column holds for a value, and note where that is something else."""
        if not self.odd or value is None:
            if value is None and self.odd and not isinstance(path[-1], int):
                patches.append([[*path], None])
            return value
        if self._mixed and not isinstance(value, str):
            patches.append([[*path], value])
            return exact_json(value)
        if isinstance(value, dict):
            return {
                key: self.members[key].column(one, (*path, key), patches)
                for key, one in value.items()
            }
        if isinstance(value, list) and self.entries is not None:
            entries = self.entries
            return [entries.column(v, (*path, n), patches) for n, v in enumerate(value)]
        return value


def plain(value: Any) -> Any:
    """Return a value of a column as JSON has it: without members that are null.

    Entries of lists that are null stay.
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return geojson(shapely.from_wkb(value))
    return (
        value if value is None or isinstance(value, (bool, int, float, str)) else time_text(value)
    )


def time_text(value: Any) -> str:
    """Return an instant of a column as text; those without a zone are in UTC."""
    from datetime import UTC  # noqa: PLC0415
    from datetime import datetime as instant  # noqa: PLC0415

    if not isinstance(value, instant):
        return str(value)
    return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))


def geojson(geometry: Any) -> dict[str, Any] | None:
    """Return a geometry as GeoJSON with lists, as JSON reads them back."""
    if geometry is None:
        return None
    document: dict[str, Any] = json.loads(json.dumps(mapping(geometry)))
    return document


def wkb(geometry: Any) -> bytes | None:
    """Return a GeoJSON geometry as ISO WKB, or None if WKB would not give all of it back."""
    try:
        found = shape(geometry)
        if geojson(found) != geometry:
            return None
        binary: bytes = shapely.to_wkb(found, flavor="iso")
    except _NOT_A_SHAPE:
        return None
    return binary


def exact_json(value: Any) -> str:
    """Write JSON, the same for the same; geometries that became binary are GeoJSON again."""
    return json.dumps(
        value,
        ensure_ascii=False,
        sort_keys=True,
        default=lambda binary: geojson(shapely.from_wkb(binary)),
    )


def instant_of(text: object) -> datetime | None:
    """Return the instant that a text means, None if it means none."""
    try:
        return parse_time(text)  # type: ignore[arg-type]
    except ArgumentInvalid:
        return None


def swapped(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item whose projected geometries are binary, the others as they were."""
    found = dict(item)
    properties = found.get("properties")
    if isinstance(properties, dict) and PROJECTED in properties:
        found["properties"] = _swap(properties)
    assets = found.get("assets")
    if isinstance(assets, dict):
        for key, asset in assets.items():
            if isinstance(asset, dict) and PROJECTED in asset:
                found["assets"] = {**found["assets"], key: _swap(asset)}
    return found


def _swap(owner: dict[str, Any]) -> dict[str, Any]:
    binary = wkb(owner[PROJECTED])
    return owner if binary is None else {**owner, PROJECTED: binary}


def mended(item: dict[str, Any], patches: list[Patch]) -> dict[str, Any]:
    """Put the values back that columns could not hold; changes and returns `item`.

    Raises:
        ArgumentInvalid: the patches do not fit the item.
    """
    for path, value in patches:
        owner: Any = item
        try:
            for step in path[:-1]:
                owner = owner.setdefault(step, {}) if isinstance(owner, dict) else owner[step]
            owner[path[-1]] = value
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ArgumentInvalid(
                f"Item {item.get('id')!r}: what the file notes for {path!r} does not fit it. "
                "Export it again."
            ) from error
    return item
