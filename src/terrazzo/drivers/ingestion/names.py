"""What a file's name says: its date, its band, and the item that it belongs to.

A date is read from a name by this rule: `YYYY-MM-DD` first, then the first run of exactly eight
digits that is a day (`YYYYMMDD`), then the first run of exactly seven that is one (`YYYYDDD`, day
of the year). A run of another length is no date, but for fourteen digits (`YYYYMMDDhhmmss`); years
are 1900 to 2099. `Thhmmss` right behind a date is its time, UTC. Two dates side by side are a
period, `20171202_20180320`, whose last day belongs to it; but the second date of a Landsat scene is
when it was processed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from terrazzo.drivers.ingestion.items import Period
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TIME: Final = r"(?:[Tt](?P<time>\d{6})(?!\d))?"
_DATES: Final = (
    (re.compile(rf"(?<!\d)(?P<date>\d{{4}}-\d\d-\d\d){_TIME}(?!\d)"), "%Y-%m-%d"),
    (re.compile(rf"(?<!\d)(?P<date>\d{{8}}){_TIME}(?!\d)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)(?P<date>\d{8})(?P<time>\d{6})(?!\d)"), "%Y%m%d"),
    (re.compile(rf"(?<!\d)(?P<date>\d{{7}}){_TIME}(?!\d)"), "%Y%j"),
)
_YEARS: Final = range(1900, 2100)
_ACQUIRED: Final = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "ACQUISITIONTIME",
)
_WRITTEN: Final = ("TIFFTAG_DATETIME", "DATETIME")
"""TIFF 6.0: when the image was created. Some write the acquisition there, many the processing."""
_FORMS: Final = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%dT%H%M%S")
_BESIDE: Final = re.compile(r"[_-]{1,2}(?:to[_-]{1,2})?")
_PROCESSED: Final = re.compile(r"(?<![A-Z\d])L[A-Z]\d\d_(?:L[12][A-Z]{2}|CU|AK|HI)_\d{6}_\d{8}_")
_YEAR: Final = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
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
    when: Period | None = None
    """The instant or period in the name."""
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
    head, date = _dated_end(stem)
    match = _BAND.search(head)
    band = match["band"] if match else ""
    item = stem
    if match:
        item = (head[: match.start()] + (match["resolution"] or "") + date).lstrip("._-")
    if pattern is None:
        return NameParts(item, band, period_in(stem))
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
    told = _stated_date(str(groups["date"]), name) if groups.get("date") else None
    return NameParts(
        groups.get("item") or item, band, told or period_in(stem), stated=told is not None
    )


def _dated_end(stem: str) -> tuple[str, str]:
    """Part a name from the date that it ends in, so that a band before that is found."""
    for expression, form in _DATES:
        for match in expression.finditer(stem):
            if match.end() == len(stem) and match.start() and any(_instants(match, form)):
                head = stem[: match.start()].rstrip("._-")
                return head, stem[len(head) :]
    return stem, ""


def date_in(text: str) -> datetime | None:
    """Return the first date in a text by the rule above; None if there is none."""
    found = period_in(text)
    return None if found is None else found.start


def period_in(text: str) -> Period | None:
    """Return the first date in a text, or the period that it begins; None if there is none."""
    for expression, form in _DATES:
        for match in expression.finditer(text):
            for start in _instants(match, form):
                end = _end_beside(text, match, expression, form)
                return Period(start, end if end is not None and end > start else None)
    return None


def _end_beside(
    text: str, match: re.Match[str], expression: re.Pattern[str], form: str
) -> datetime | None:
    """Return the end, excluded, of the period that a date begins; None if it begins none."""
    between = _BESIDE.match(text, match.end())
    last = expression.match(text, between.end()) if between else None
    if last is None or _PROCESSED.search(text):
        return None
    for found in _instants(last, form):
        return found if last["time"] else found + timedelta(days=1)
    return None


def when_of(parts: NameParts, stated: str, tags: Mapping[str, str], *, name: str) -> Period:
    """Return when a file is of: what the user states, its pattern, its metadata or name say.

    Args:
        parts: what its name says.
        stated: `--datetime`; empty if it is not given.
        tags: the file's metadata.
        name: of the file, for the message.

    Raises:
        ArgumentInvalid: nothing says it.
    """
    if stated:
        return Period.of(stated)
    if parts.stated and parts.when is not None:
        return parts.when
    acquired, written = date_of_tags(tags, _ACQUIRED), date_of_tags(tags, _WRITTEN)
    if acquired is not None:
        return Period(acquired)
    if parts.when is None and written is not None:
        return Period(written)
    if parts.when is None:
        raise ArgumentInvalid(_no_date(name))
    same_day = written is not None and written.date() == parts.when.start.date()
    if same_day and written is not None and parts.when == Period(_midnight(written)):
        return Period(written)
    return parts.when


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _no_date(name: str) -> str:
    """Ask for the date of a file."""
    year = _YEAR.search(name.rsplit("/", 1)[-1])
    example = year[0] if year else "2018-05-01"
    also = "" if year else " (or 2018, or 2018-05-01/2018-07-01)"
    return (
        "it has no date, neither in its metadata nor in its name (YYYY-MM-DD, YYYYMMDD or "
        f"YYYYDDD). State it with --datetime {example}{also}, or say where it is in the name with "
        "--pattern."
    )


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


def _stated_date(text: str, name: str) -> Period:
    """Read the pattern's group `date`.

    Raises:
        ArgumentInvalid: it is no date.
    """
    found = period_in(text)
    if found is not None:
        return found
    try:
        return Period.of(text)
    except ArgumentInvalid:
        raise ArgumentInvalid(
            f"--pattern finds the date {text!r} in {name!r}, which is none. Valid are {_WANTED}."
        ) from None


def date_of_tags(
    tags: Mapping[str, str], keys: Sequence[str] = (*_ACQUIRED, *_WRITTEN)
) -> datetime | None:
    """Return the instant that the metadata of a file state, without a zone UTC; None if none."""
    by_name = {key.upper(): text for key, text in tags.items()}
    for key in keys:
        text = by_name.get(key, "").strip()
        if not text:
            continue
        for form in _FORMS:
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
