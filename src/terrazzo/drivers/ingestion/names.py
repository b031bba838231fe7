"""What a file's name says: its date, its band, and the item that it belongs to.

A date is read from a name by this rule: `YYYY-MM-DD` first, then the first run of exactly eight
digits that is a day (`YYYYMMDD`), then the first run of exactly seven that is one (`YYYYDDD`, day
of the year). A run of another length is no date, but for fourteen digits (`YYYYMMDDhhmmss`); years
are 1900 to 2099. `Thhmmss` right behind a date is its time, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TIME: Final = r"(?:T(?P<time>\d{6})(?!\d))?"
_DATES: Final = (
    (re.compile(rf"(?<!\d)(?P<date>\d{{4}}-\d\d-\d\d){_TIME}(?!\d)"), "%Y-%m-%d"),
    (re.compile(rf"(?<!\d)(?P<date>\d{{8}}){_TIME}(?!\d)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)(?P<date>\d{8})(?P<time>\d{6})(?!\d)"), "%Y%m%d"),
    (re.compile(rf"(?<!\d)(?P<date>\d{{7}}){_TIME}(?!\d)"), "%Y%j"),
)
_YEARS: Final = range(1900, 2100)
_TAGS: Final = (
    "TIFFTAG_DATETIME",
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "DATETIME",
)
_BAND: Final = re.compile(
    r"(?:^|[._-])(?P<band>B\d{1,2}A?|(?:SR|ST|QA)_[A-Z0-9]+|SCL|AOT|WVP|TCI|CLD|SNW|CLM|FMASK"
    r"|VV|VH|HH|HV|blue|green|red|nir0?\d?|swir_?\d*|pan|tir\d*|coastal|rededge\d*"
    r"|ndvi|evi|lai|fapar|qa|qflag|mask)(?P<resolution>[._-]\d+m)?$",
    re.IGNORECASE,
)
_GROUPS: Final = frozenset({"date", "band", "item"})
_WANTED: Final = "YYYY-MM-DD, YYYYMMDD, YYYYDDD or RFC 3339"


@dataclass(frozen=True, slots=True)
class NameParts:
    """What the name of a file says about it; empty where it says nothing."""

    item: str
    """Id of the item: the name without its band, or the pattern's group `item`."""
    band: str = ""
    """Name of the band, if the name ends in one."""
    date: datetime | None = None
    """The instant in the name."""
    stated: bool = False
    """Whether the date is from the user's pattern, which counts before the file's metadata."""


def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """Compile the user's pattern for names; empty is none.

    Raises:
        ArgumentInvalid: it is no regular expression, or has none of the groups that are read.
    """
    if not pattern:
        return None
    try:
        found = re.compile(pattern)
    except re.error as problem:
        raise ArgumentInvalid(
            f"--pattern {pattern!r} is no regular expression: {problem}. Valid is, for example, "
            r"'(?P<item>S2_(?P<date>\d{8}))_(?P<band>B\d+)'."
        ) from problem
    unknown = found.groupindex.keys() - _GROUPS
    if unknown or not found.groupindex:
        raise ArgumentInvalid(
            f"--pattern {pattern!r} has the named groups {sorted(found.groupindex) or 'none'}. "
            "Valid are (?P<date>...), (?P<band>...) and (?P<item>...), at least one of them."
        )
    return found


def read_name(name: str, pattern: re.Pattern[str] | None = None) -> NameParts:
    """Take the name of a file apart.

    Args:
        name: path of the file relative to the folder that was ingested, with `/`. Only its last
            part is looked at without a pattern.
        pattern: searched in the whole of `name`; its groups count before what is guessed.

    Raises:
        ArgumentInvalid: the pattern is not found in the name, or its `date` is no date.
    """
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    match = _BAND.search(stem)
    band = match["band"] if match else ""
    item = stem[: match.start()] + (match["resolution"] or "") if match else stem
    if pattern is None:
        return NameParts(item, band, date_in(stem))
    found = pattern.search(name)
    if found is None:
        raise ArgumentInvalid(
            f"its name {name!r} does not match --pattern {pattern.pattern!r}. Change the pattern, "
            "or leave the file out."
        )
    groups: Mapping[str, str | None] = found.groupdict()
    if groups.get("band"):
        band = str(groups["band"])
        item = stem.replace(band, "").strip("._-") if match is None else item
    date = _stated_date(str(groups["date"]), name) if groups.get("date") else None
    return NameParts(
        groups.get("item") or item, band, date or date_in(stem), stated=date is not None
    )


def date_in(text: str) -> datetime | None:
    """Return the first date in a text by the rule above; None if there is none."""
    for expression, form in _DATES:
        for match in expression.finditer(text):
            for found in _instants(match, form):
                return found
    return None


def _instants(match: re.Match[str], form: str) -> Iterator[datetime]:
    """Yield the instant of a match, or its day alone, if the calendar has them."""
    date, time = match["date"], match["time"]
    for text, full in ((f"{date} {time}", f"{form} %H%M%S"), (date, form)):
        try:
            found = datetime.strptime(text, full).replace(tzinfo=UTC)
        except ValueError:
            continue
        # Day 366 of a common year is read as the first day of the next one.
        if found.year in _YEARS and date.startswith(f"{found.year}"):
            yield found


def _stated_date(text: str, name: str) -> datetime:
    """Read the pattern's group `date`.

    Raises:
        ArgumentInvalid: it is no date.
    """
    found = date_in(text)
    if found is not None:
        return found
    try:
        return parse_time(text)
    except ArgumentInvalid:
        raise ArgumentInvalid(
            f"--pattern finds the date {text!r} in {name!r}, which is none. Valid are {_WANTED}."
        ) from None


def date_of_tags(tags: Mapping[str, str]) -> datetime | None:
    """Return the instant that the metadata of a file state, without a zone UTC; None if none."""
    by_name = {key.upper(): text for key, text in tags.items()}
    for key in _TAGS:
        text = by_name.get(key, "").strip()
        for form in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
        try:
            return parse_time(text)
        except ArgumentInvalid:
            continue
    return None


def safe_name(text: str) -> str:
    """Return a text as the name of a file or folder: no separators, no leading dot."""
    return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII).lstrip(".") or "_"


def date_id(instant: datetime) -> str:
    """Return an instant as the part of an id: `20180501`, with `T092031` if it is not midnight."""
    compact = format_time(instant).replace("-", "").replace(":", "").removesuffix("Z")
    return compact.removesuffix("T000000").replace(".", "_")
