"""Search for places by name, without a network: a table of GeoNames' cities, towns and countries.

`scripts/gazetteer.py` writes the table; GeoNames, CC BY 4.0.
"""

from __future__ import annotations

import gzip
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.screen.asked import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW: Final = 10
"""Places that are found where nobody says how many."""
MOST_PLACES: Final = 50
SOURCE: Final = "GeoNames, CC BY 4.0"
_TAB: Final = "\t"
_KNOWN: Final = 500_000
"""People from which on a place is meant by any of its names."""
_TABLE: Final = Path(__file__).parent / "places.tsv.gz"
_LETTERS: Final = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True, slots=True)
class Place:
    """A place with a name."""

    name: str
    """As GeoNames writes it."""
    country: str
    """Its country's name in English."""
    lon: float
    """Degrees."""
    lat: float
    """Degrees."""
    kind: str
    """`place` or `country`."""
    population: int
    """People who live there."""
    bounds: tuple[float, float, float, float] | None
    """(west, south, east, north) of a country."""

    @property
    def told(self) -> dict[str, Any]:
        """It as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"bounds": list(self.bounds) if self.bounds else None}


def folded(text: str) -> str:
    """Return a name as it is searched for: small letters, without marks and without ends."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(one for one in plain if not unicodedata.combining(one))
    return " ".join(kept.translate(_LETTERS).replace("-", " ").split())


def places(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the places whose name, in some language, begins like a text; the largest first.

    Args:
        given: `q`, the text, and `limit`, how many at most.

    Raises:
        ArgumentInvalid: a parameter is not as it must be.
    """
    asked = Asked.of(given, ("q", "limit"))
    found = search(asked.text("q"), asked.whole("limit", 1, MOST_PLACES, FEW))
    return {"places": [one.told for one in found], "source": SOURCE}


def search(text: str, most: int = FEW) -> list[Place]:
    """Return places by name: equal ones first, then those that begin like it, then by words in it.

    Args:
        text: the beginning of a name; what follows a comma is of its country.
        most: how many at most.
    """
    name, _, country = (folded(part) for part in text.partition(","))
    if not name:
        return []
    countries, rows, searched = _table()
    equal, begins, inside = f"|{name}|", f"|{name}", f" {name}"
    ranked: tuple[list[Place], ...] = ([], [], [], [], [])
    for row, names in zip(rows, searched, strict=True):
        if begins not in names and inside not in names:
            continue
        place = _place(row, countries)
        if country and not folded(place.country).startswith(country):
            continue
        first = names.index("|", 1)
        rank = (
            0 if names.startswith(equal) or (equal in names and place.population >= _KNOWN)
            else 1 if equal in names
            else 2 if names.startswith(begins)
            else 3 if inside in names[:first]
            else 4
        )  # fmt: skip
        if len(ranked[rank]) < most:
            ranked[rank].append(place)
    return [place for one in ranked for place in one][:most]


def _place(row: str, countries: Mapping[str, str]) -> Place:
    name, code, kind, lon, lat, people, _, *box = row.split("\t")
    bounds = None
    if box:
        west, south, east, north = map(float, box[0].split(","))
        bounds = west, south, east, north
    return Place(name, countries.get(code, ""), float(lon), float(lat), kind, int(people), bounds)


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Return the countries, all places, the largest first, and the names by which each is found."""
    heads, _, rows = gzip.decompress(_TABLE.read_bytes()).decode().partition("\n\n")
    countries = dict(line.split("\t") for line in heads.splitlines())
    listed = tuple(rows.splitlines())
    return countries, listed, tuple(f"|{row.split(_TAB, 7)[6]}|" for row in listed)
