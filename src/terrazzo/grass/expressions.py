"""Expressions of r.mapcalc, read by a grammar of our own: nothing else reaches GRASS.

What is written to GRASS is put together from what was understood, and never the text itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from terrazzo.errors import ArgumentInvalid, BandNotFound, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_LETTERS: Final = 4000
MOST_DEPTH: Final = 40
"""Of what is nested: a level takes 16 of the 1000 calls that Python has for us and our callers."""
MOST_OFFSET: Final = 64
"""Pixels from the pixel itself that a neighbour may be."""
_ANY: Final = 32
FUNCTIONS: Final[dict[str, tuple[int, int]]] = {
    "abs": (1, 1),
    "acos": (1, 1),
    "asin": (1, 1),
    "atan": (1, 2),
    "ceil": (1, 1),
    "cos": (1, 1),
    "double": (1, 1),
    "exp": (1, 2),
    "float": (1, 1),
    "floor": (1, 1),
    "graph": (3, _ANY),
    "graph2": (3, _ANY),
    "if": (1, 4),
    "int": (1, 1),
    "isnull": (1, 1),
    "log": (1, 2),
    "max": (1, _ANY),
    "median": (1, _ANY),
    "min": (1, _ANY),
    "mod": (2, 2),
    "mode": (1, _ANY),
    "nmax": (1, _ANY),
    "nmedian": (1, _ANY),
    "nmin": (1, _ANY),
    "nmode": (1, _ANY),
    "not": (1, 1),
    "null": (0, 0),
    "pow": (2, 2),
    "round": (1, 3),
    "sin": (1, 1),
    "sqrt": (1, 1),
    "tan": (1, 1),
    "x": (0, 0),
    "xor": (2, 2),
    "y": (0, 0),
}
"""Functions that look at a pixel alone, and how many arguments they take. Those that tell of the
region (row, ncols ...) or of chance (rand) would give every block something else."""
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])|(?P<name>[A-Za-z_]\w*)|"
    r'"(?P<quoted>[^"]{1,200})"|(?P<sign>>>>|&&&|\|\|\||==|!=|>=|<=|<<|>>|&&|\|\||'
    r"[-+*/%^!~<>&|?:(),\[\]]))",
    re.ASCII,
)
_BINARY: Final = (
    ("||", "|||"),
    ("&&", "&&&"),
    ("|",),
    ("&",),
    ("==", "!="),
    (">", ">=", "<", "<="),
    ("<<", ">>", ">>>"),
    ("+", "-"),
    ("*", "/", "%"),
    ("^",),
)
"""Operators, those that bind most loosely first."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as it was understood."""

    text: str
    """For r.mapcalc, with the bands called m0, m1 ... by their place in `bands`."""
    bands: tuple[str, ...]
    """Names of the bands that it uses, in the order of the cube's."""


def read_expression(text: str, names: Sequence[str]) -> Expression:
    """Understand an expression of r.mapcalc.

    Args:
        text: e.g. `(nir - red) / (nir + red)`, `if(dem > 10, dem - dem[0,-1], null())`. Names that
            are no words stand in double quotes.
        names: of the bands that there are.

    Raises:
        ArgumentInvalid: it is none, or asks for what is not computed here.
        BandNotFound: it uses a band that is not there.
    """
    if len(text) > MOST_LETTERS:
        raise ArgumentInvalid(
            f"The expression has {len(text):,} letters, and may have {MOST_LETTERS:,}."
        )
    reader = _Reader(text, tuple(names))
    made = reader.whole()
    used = tuple(name for name in names if name in reader.used)
    for number, name in enumerate(used):
        made = made.replace(_mark(names.index(name)), f"m{number}")
    return Expression(made, used)


def reach_of(text: str) -> int:
    """Return how many pixels away from a pixel an expression looks, whatever bands there are.

    Raises:
        ArgumentInvalid: it is none.
    """
    reader = _Reader(text, None)
    reader.whole()
    return reader.reach


def _mark(number: int) -> str:
    return f"\0{number}\0"


@dataclass(slots=True)
class _Reader:
    """Reads an expression from left to right."""

    text: str
    names: tuple[str, ...] | None
    """Of the bands that there are; None where any will do."""
    place: int = 0
    reach: int = 0
    depth: int = 0
    used: set[str] = field(default_factory=set)

    def whole(self) -> str:
        made = self.choice()
        if self.text[self.place :].strip():
            raise self.wrong("Nothing more is expected there")
        if not self.used:
            raise ArgumentInvalid(
                f"The expression {self.text!r} uses no band. Bands here: "
                f"{', '.join(self.names or ())}."
            )
        return made

    def wrong(self, what: str) -> ArgumentInvalid:
        here = self.text[self.place :].strip()[:30]
        return ArgumentInvalid(
            f"The expression {self.text[:200]!r} cannot be read at {here!r}: {what}. It is made of "
            "numbers, names of bands, neighbours (band[row,column]), + - * / % ^ == != < <= > >= "
            f"&& || ! ?: and the functions {', '.join(FUNCTIONS)}."
        )

    def peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.place)

    def sign(self, *wanted: str) -> str:
        """Take one of these signs if it is next."""
        found = self.peek()
        if found is None or found["sign"] not in wanted:
            return ""
        self.place = found.end()
        return str(found["sign"])

    def expect(self, sign: str) -> None:
        if not self.sign(sign):
            raise self.wrong(f"{sign!r} is expected")

    def choice(self) -> str:
        """Read `a ? b : c`, or what binds more strongly."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ArgumentInvalid(f"The expression is nested more than {MOST_DEPTH} deep.")
        made = self.binary(0)
        if self.sign("?"):
            yes = self.choice()
            self.expect(":")
            made = f"({made} ? {yes} : {self.choice()})"
        self.depth -= 1
        return made

    def binary(self, level: int) -> str:
        """Read operators of a level from left to right; a power from right to left."""
        if level == len(_BINARY):
            return self.unary()
        made = self.binary(level + 1)
        while sign := self.sign(*_BINARY[level]):
            if sign == "^":
                return f"({made} ^ {self.unary_power()})"
            made = f"({made} {sign} {self.binary(level + 1)})"
        return made

    def unary_power(self) -> str:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ArgumentInvalid(f"The expression is nested more than {MOST_DEPTH} deep.")
        made = self.binary(len(_BINARY) - 1)
        self.depth -= 1
        return made

    def unary(self) -> str:
        signs = ""
        while sign := self.sign("-", "!", "~"):
            signs += sign
            if len(signs) > MOST_DEPTH:
                raise self.wrong("Too many signs follow one another")
        made = self.single()
        for sign in reversed(signs):
            made = f"({sign}{made})"
        return made

    def single(self) -> str:
        """Read a number, a band, a neighbour, a call, or something in parentheses."""
        if self.sign("("):
            made = self.choice()
            self.expect(")")
            return f"({made})"
        found = self.peek()
        if found is None or found["sign"]:
            raise self.wrong("A number, a band or a function is expected")
        before, self.place = self.place, found.end()
        if found["number"]:
            return str(found["number"])
        if found["name"] and self.sign("("):
            return self.call(found["name"], before)
        return self.band(found["name"] or found["quoted"])

    def call(self, name: str, before: int) -> str:
        if name not in FUNCTIONS:
            self.place = before
            raise self.wrong(f"There is no function {name!r}.{suggest(name, tuple(FUNCTIONS))}")
        arguments = []
        if not self.sign(")"):
            arguments.append(self.choice())
            while self.sign(","):
                arguments.append(self.choice())
            self.expect(")")
        least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            self.place = before
            count = str(least) if least == most else f"{least} to {most}"
            raise self.wrong(f"{name} takes {count} arguments, not {len(arguments)}")
        return f"{name}({', '.join(arguments)})"

    def band(self, name: str) -> str:
        if self.names is not None and name not in self.names:
            raise BandNotFound(name, self.names)
        self.used.add(name)
        made = _mark(0 if self.names is None else self.names.index(name))
        if self.sign("["):
            row = self.offset()
            col = self.offset() if self.sign(",") else 0
            self.expect("]")
            made += f"[{row},{col}]"
        return made

    def offset(self) -> int:
        minus = self.sign("-")
        found = self.peek()
        if found is None or not (found["number"] or "").isdigit():
            raise self.wrong("Rows and columns of a neighbour are whole numbers")
        number = int(found["number"])
        if number > MOST_OFFSET:
            raise self.wrong(f"A neighbour is at most {MOST_OFFSET} pixels away")
        self.place = found.end()
        self.reach = max(self.reach, number)
        return -number if minus else number
