"""CQL2 text to CQL2 JSON: the grammar of OGC 21-065r2, annex B, as a table-driven parser.

Deep nesting costs no stack here, so that no text of a stranger can end the process.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import VisitError

from terrazzo.errors import FilterInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

Json: TypeAlias = Any
"""A value of CQL2 JSON."""

LONGEST = 100_000
"""Characters of the longest text."""
_DIGITS = 300
"""Of the longest whole number; with a longer one nothing can be computed."""

_GRAMMAR = r"""
    ?start: or_
    ?or_: and_ (_OR and_)*
    ?and_: not_ (_AND not_)*
    ?not_: _NOT not_ -> negated
        | predicate
    ?predicate: sum
        | sum COMPARISON sum -> compared
        | sum _LIKE sum -> like
        | sum _NOT _LIKE sum -> unlike
        | sum _BETWEEN sum _AND sum -> between
        | sum _NOT _BETWEEN sum _AND sum -> not_between
        | sum _IN "(" arguments ")" -> among
        | sum _NOT _IN "(" arguments ")" -> not_among
        | sum _IS _NULL -> null
        | sum _IS _NOT _NULL -> not_null
    ?sum: product
        | sum SIGN product -> calculated
    ?product: power
        | product TIMES power -> calculated
    ?power: unary
        | unary CARET power -> calculated
    ?unary: SIGN unary -> signed
        | primary
    ?primary: NUMBER -> number
        | TEXT -> text
        | TRUE -> true
        | FALSE -> false
        | NAME -> property
        | QUOTED -> quoted
        | geometry
        | NAME "(" [arguments] ")" -> call
        | "(" or_ ")"
        | "(" or_ ("," or_)+ ")" -> several
        | "(" ")" -> several
    arguments: or_ ("," or_)*

    geometry: POINT _Z? place
        | LINESTRING _Z? line
        | POLYGON _Z? rings
        | MULTIPOINT _Z? places
        | MULTILINESTRING _Z? rings
        | MULTIPOLYGON _Z? polygons
        | GEOMETRYCOLLECTION _Z? "(" geometry ("," geometry)* ")" -> collected
        | BBOX "(" ordinate ("," ordinate)+ ")" -> bbox
    place: "(" position ")"
    line: "(" position ("," position)* ")"
    places: "(" position ("," position)* ")" | "(" place ("," place)* ")"
    rings: "(" line ("," line)* ")"
    polygons: "(" rings ("," rings)* ")"
    position: ordinate ordinate ordinate?
    ordinate: SIGN? NUMBER

    _OR.2: /OR(?![\w:.])/i
    _AND.2: /AND(?![\w:.])/i
    _NOT.2: /NOT(?![\w:.])/i
    _LIKE.2: /LIKE(?![\w:.])/i
    _BETWEEN.2: /BETWEEN(?![\w:.])/i
    _IN.2: /IN(?![\w:.])/i
    _IS.2: /IS(?![\w:.])/i
    _NULL.2: /NULL(?![\w:.])/i
    TRUE.2: /TRUE(?![\w:.])/i
    FALSE.2: /FALSE(?![\w:.])/i
    _Z.2: /Z(?![\w:.])/i
    POINT.2: /POINT(?=\s*(Z\s*)?\()/i
    LINESTRING.2: /LINESTRING(?=\s*(Z\s*)?\()/i
    POLYGON.2: /POLYGON(?=\s*(Z\s*)?\()/i
    MULTIPOINT.2: /MULTIPOINT(?=\s*(Z\s*)?\()/i
    MULTILINESTRING.2: /MULTILINESTRING(?=\s*(Z\s*)?\()/i
    MULTIPOLYGON.2: /MULTIPOLYGON(?=\s*(Z\s*)?\()/i
    GEOMETRYCOLLECTION.2: /GEOMETRYCOLLECTION(?=\s*(Z\s*)?\()/i
    BBOX.2: /BBOX(?=\s*\()/i
    COMPARISON: "<=" | ">=" | "<>" | "=" | "<" | ">"
    SIGN: "+" | "-"
    TIMES: "*" | "/" | "%" | /DIV(?![\w:.])/i
    CARET: "^"
    NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
    TEXT: /'(?:[^']|'')*'/
    QUOTED: /"(?:[^"]|"")*"/
    NAME: /[^\W\d][\w:.]*/
    %ignore /\s+/
"""


def json_of(text: str) -> Json:
    """Return a filter in CQL2 text as CQL2 JSON.

    Raises:
        FilterInvalid: it is no CQL2 text; says where.
    """
    if len(text) > LONGEST:
        raise FilterInvalid(
            f"The filter has {len(text)} characters; the longest has {LONGEST}. Send large "
            "geometries as `intersects`, or simplify them."
        )
    try:
        return _parser().parse(text)
    except UnexpectedInput as error:
        place = max(getattr(error, "pos_in_stream", None) or 0, 0)
        raise FilterInvalid(
            f"The filter is no CQL2 text: it cannot go on at character {place + 1}, "
            f'{text[place : place + 20]!r}. An example: "eo:cloud_cover < 20 AND platform = '
            "'sentinel-2a'\"."
        ) from None
    except VisitError as error:
        if isinstance(error.orig_exc, FilterInvalid):
            raise error.orig_exc from None
        raise


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_ToJson())


def _op(name: str, *arguments: Json) -> Json:
    return {"op": name, "args": list(arguments)}


def _number(text: str) -> float:
    whole = len(text) <= _DIGITS and not set(text) & set(".eE")
    return int(text) if whole else float(text)


_GEOMETRIES = (
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
)
_TYPES = {name.upper(): name for name in _GEOMETRIES}
_TEMPORAL = ("date", "timestamp")


@v_args(inline=True)
class _ToJson(Transformer[Token, Json]):
    """Makes the JSON of each rule of the ones within it; named after the grammar's rules."""

    def or_(self, *parts: Json) -> Json:
        return _op("or", *parts)

    def and_(self, *parts: Json) -> Json:
        return _op("and", *parts)

    def negated(self, part: Json) -> Json:
        return _op("not", part)

    def compared(self, left: Json, sign: Token, right: Json) -> Json:
        return _op(str(sign), left, right)

    def like(self, value: Json, pattern: Json) -> Json:
        return _op("like", value, pattern)

    def unlike(self, value: Json, pattern: Json) -> Json:
        return _op("not", _op("like", value, pattern))

    def between(self, value: Json, low: Json, high: Json) -> Json:
        return _op("between", value, low, high)

    def not_between(self, value: Json, low: Json, high: Json) -> Json:
        return _op("not", _op("between", value, low, high))

    def among(self, value: Json, values: Json) -> Json:
        return _op("in", value, values)

    def not_among(self, value: Json, values: Json) -> Json:
        return _op("not", _op("in", value, values))

    def null(self, value: Json) -> Json:
        return _op("isNull", value)

    def not_null(self, value: Json) -> Json:
        return _op("not", _op("isNull", value))

    def calculated(self, left: Json, sign: Token, right: Json) -> Json:
        return _op(sign.lower(), left, right)

    def signed(self, sign: Token, value: Json) -> Json:
        if sign == "+":
            return value
        return -value if type(value) in {int, float} else _op("*", -1, value)

    def number(self, text: Token) -> Json:
        return _number(text)

    def text(self, text: Token) -> Json:
        return text[1:-1].replace("''", "'")

    def true(self, _: Token) -> Json:
        return True

    def false(self, _: Token) -> Json:
        return False

    def property(self, name: Token) -> Json:
        return {"property": str(name)}

    def quoted(self, name: Token) -> Json:
        return {"property": name[1:-1].replace('""', '"')}

    def several(self, *values: Json) -> Json:
        return list(values)

    def arguments(self, *values: Json) -> Json:
        return list(values)

    def call(self, name: Token, values: Json) -> Json:
        called, values = name.lower(), values or []
        if called in _TEMPORAL:
            if len(values) != 1 or not isinstance(values[0], str):
                raise FilterInvalid(f"{name}() takes one text, for example {name}('2024-05-01').")
            return {called: values[0]}
        return {"interval": values} if called == "interval" else _op(called, *values)

    def geometry(self, name: Token, coordinates: Json) -> Json:
        return {"type": _TYPES[name.upper()], "coordinates": coordinates}

    def collected(self, _: Token, *geometries: Json) -> Json:
        return {"type": "GeometryCollection", "geometries": list(geometries)}

    def bbox(self, _: Token, *ordinates: Json) -> Json:
        return {"bbox": list(ordinates)}

    def place(self, position: Json) -> Json:
        return position

    def position(self, *ordinates: Json) -> Json:
        return list(ordinates)

    def ordinate(self, *parts: Token) -> Json:
        value = _number(parts[-1])
        return -value if parts[0] == "-" else value

    def line(self, *parts: Json) -> Sequence[Json]:
        return list(parts)

    places = rings = polygons = line
