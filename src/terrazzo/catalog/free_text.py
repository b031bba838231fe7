"""Free text as people type it: `q` of STAC API and OGC API - Records.

A comma means or. Words next to each other are one term and must stand together; `"..."` says so
explicitly. `AND`, `OR`, `NOT` in capitals, brackets, `+term` (must be there) and `-term` (must not)
combine terms; terms that nothing combines are alternatives.

Words are runs of letters or of digits, whatever their case and accents: `Sentinel-2`, `sentinel 2`
and `SENTINEL2` are the same two words.

Source: STAC API free-text search 1.0.0-rc.1 (basic, with the operators of advanced).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LONGEST = 2000
"""Characters of the longest text."""
DEEPEST = 20
"""Brackets in brackets."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_TOKEN = re.compile(r'\s*(?:(?P<sign>[+-](?=[\w"(]))|(?P<mark>[(),])|"(?P<phrase>[^"]*)"|'
                    r'(?P<word>[^\s(),"]+))')  # fmt: skip
_OPERATORS = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand together."""

    words: str
    """With one blank before, between and behind."""

    def found_in(self, fields: Sequence[str]) -> bool:
        """Tell whether one of the fields has the words."""
        return any(self.words in field for field in fields)


@dataclass(frozen=True, slots=True)
class All:
    """What must all be there."""

    parts: tuple[Condition, ...]

    def found_in(self, fields: Sequence[str]) -> bool:
        """Tell whether the fields have all of it."""
        return all(part.found_in(fields) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Alternatives."""

    parts: tuple[Condition, ...]

    def found_in(self, fields: Sequence[str]) -> bool:
        """Tell whether the fields have one of them."""
        return any(part.found_in(fields) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Without:
    """What must not be there."""

    part: Condition

    def found_in(self, fields: Sequence[str]) -> bool:
        """Tell whether the fields lack it."""
        return not self.part.found_in(fields)


Condition: TypeAlias = Term | All | Either | Without


@dataclass(frozen=True, slots=True)
class FreeText:
    """What is looked for in texts."""

    condition: Condition
    """What must be true."""

    @classmethod
    def of(cls, given: str | Sequence[str]) -> FreeText:
        """Read a text, or several of which one must be met.

        Raises:
            ArgumentInvalid: it has no words, is too long, or its brackets, quotes or operators do
                not fit together.
        """
        texts = (given,) if isinstance(given, str) else tuple(given)
        if sum(map(len, texts)) > LONGEST or len(texts) > LONGEST:
            raise ArgumentInvalid(f"q has more than {LONGEST} characters. Look for fewer words.")
        found = tuple(_Reader(text).read() for text in texts)
        if not found:
            raise _wordless("")
        return cls(_one_of(found))

    def accepts(self, texts: Iterable[str]) -> bool:
        """Tell whether texts meet it; a term has to stand in one of them."""
        return self.condition.found_in([_folded(text) for text in texts])


def texts_of(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a collection or an item that people look for words in.

    These are id, title, description, keywords and providers; of an item also its collection and
    whatever else of its properties is text.
    """
    properties = document.get("properties")
    yield from _texts(document, ("id", "collection", "title", "description", "keywords"))
    if isinstance(properties, Mapping):
        yield from (text for text in properties.values() if isinstance(text, str))
        yield from _texts(properties, ("keywords",))
    for holder in (document, properties):
        providers = holder.get("providers") if isinstance(holder, Mapping) else None
        for provider in providers if isinstance(providers, list) else ():
            if isinstance(provider, Mapping):
                yield from _texts(provider, ("name", "description"))


def _texts(holder: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        value = holder.get(name)
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str):
                yield text


def _folded(text: str) -> str:
    """Return the words of a text, without case and accents, between blanks."""
    plain = text.translate(_SIMILAR).casefold()
    return f" {' '.join(_WORD.findall(plain))} "


def without_accents(text: str) -> str:
    """Return a text whose letters have no accents."""
    return unicodedata.normalize("NFC", text.translate(_SAME))


class _Bare(dict[int, str]):
    """Letters without accents, each worked out when it is first met.

    Not a text as a whole: to put a long run of accents in order takes the square of its length.
    """

    def __init__(self, form: Literal["NFD", "NFKD"]) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, code: int) -> str:
        letters = unicodedata.normalize(self._form, chr(code))
        found = self[code] = "".join(one for one in letters if not unicodedata.combining(one))
        return found


_SAME, _SIMILAR = _Bare("NFD"), _Bare("NFKD")


def _one_of(parts: tuple[Condition, ...]) -> Condition:
    return parts[0] if len(parts) == 1 else Either(parts)


def _wordless(text: str) -> ArgumentInvalid:
    return ArgumentInvalid(f"q {text[:80]!r} has no words to look for, for example q=sentinel.")


class _Reader:
    """Reads one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def read(self) -> Condition:
        """Return what the whole text asks for."""
        if not self._tokens:
            raise _wordless(self._text)
        found = self._alternatives(0)
        if self._next < len(self._tokens):
            raise self._wrong("a bracket closes that was not opened")
        return found

    def _seen(self, *tokens: tuple[str, str]) -> bool:
        """Pass over the next token if it is one of some."""
        here = self._next < len(self._tokens) and self._tokens[self._next] in tokens
        self._next += here
        return here

    def _alternatives(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._seen(("mark", ","), ("operator", "OR")):
            parts.append(self._both(depth))
        return _one_of(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._terms(depth)]
        while self._seen(("operator", "AND")):
            parts.append(self._terms(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _terms(self, depth: int) -> Condition:
        """Return terms next to each other: those with signs decide, others are alternatives."""
        wanted: list[Condition] = []
        needed: list[Condition] = []
        while True:
            sign = ""
            while self._seen(("sign", "-"), ("operator", "NOT")):
                sign = "" if sign == "-" else "-"
            if not sign and self._seen(("sign", "+")):
                sign = "+"
            part = self._term(depth)
            if part is None and not sign:
                break
            if part is None:
                raise self._wrong("an operator stands before nothing")
            if sign:
                needed.append(Without(part) if sign == "-" else part)
            else:
                wanted.append(part)
        if wanted and all(isinstance(part, Without) for part in needed):
            needed.append(_one_of(tuple(wanted)))
        if not needed:
            raise self._wrong("something is missing between operators, commas or brackets")
        return needed[0] if len(needed) == 1 else All(tuple(needed))

    def _term(self, depth: int) -> Condition | None:
        if self._seen(("mark", "(")):
            if depth == DEEPEST:
                raise self._wrong(f"more than {DEEPEST} brackets are in each other")
            inner = self._alternatives(depth + 1)
            if not self._seen(("mark", ")")):
                raise self._wrong("a bracket is not closed")
            return inner
        kind, words = "", list[str]()
        while self._next < len(self._tokens) and kind != "phrase":
            kind, text = self._tokens[self._next]
            if kind not in {"word", "phrase"} or (kind == "phrase" and words):
                break
            words.append(text)
            self._next += 1
        return Term(_folded(" ".join(words))) if words else None

    def _wrong(self, why: str) -> ArgumentInvalid:
        return ArgumentInvalid(
            f"q {self._text[:80]!r}: {why}. Valid are for example q=landsat, q=sea ice,snow, "
            'q="sea ice" AND (arctic OR antarctic) and q=snow -glacier.'
        )


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of each part; what has no words is passed over.

    Raises:
        ArgumentInvalid: a quotation mark is not closed.
    """
    place = 0
    while found := _TOKEN.match(text, place):
        # A sign counts at the beginning of a term only: `sentinel-2` has none.
        place = found.end()
        kind = found.lastgroup or ""
        token = found[kind]
        if kind == "word" and token in _OPERATORS:
            kind = "operator"
        if kind in {"word", "phrase"} and not _folded(token).strip():
            continue
        yield kind, token
    if text[place:].strip():
        raise ArgumentInvalid(f"q {text[:80]!r}: a quotation mark is not closed.")
