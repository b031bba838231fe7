"""Collections as they are read: what was stated of them, and what their items say.

A catalogue keeps the stated document and the survey apart. What is read is made of both, once
per version; what is written back is taken apart again, so that nothing that was computed is ever
taken for a statement.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.survey import Survey, mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS: Final = ("cube:dimensions", "item_assets", "summaries")
"""Members of which single ones are computed."""
_WHOLES: Final = ("extent", "bands")


@dataclass(frozen=True, slots=True)
class Record:
    """What a catalogue keeps of a collection."""

    id: str
    version: str
    """Changes with the collection and its items; see `Catalog.version`."""
    stated: str | bytes
    """The document without what is computed, as JSON."""
    survey: str | bytes | None
    """What its items say, as JSON; None where nobody knows."""

    def document(self) -> dict[str, Any]:
        """Return the document without what is computed."""
        found: dict[str, Any] = json.loads(self.stated)
        return found

    def surveyed(self) -> Survey | None:
        """Return what its items say; None where a survey has to be made."""
        survey = None if self.survey is None else Survey.of_text(self.survey)
        return None if survey is None or survey.stale else survey


def described(record: Record) -> dict[str, Any]:
    """Return a collection as it is read; where no survey is known, as it was stated."""
    survey = record.surveyed()
    stated = record.document()
    return stated if survey is None else survey.describe(stated)


def restated(given: Mapping[str, Any], record: Record | None) -> dict[str, Any]:
    """Return what a document states that is put over another one.

    What comes back as it was computed is no statement: there what was stated before stays.

    Args:
        given: the new document.
        record: what it replaces; None if there was nothing.
    """
    found = dict(given)
    survey = None if record is None else record.surveyed()
    if record is None or survey is None or not survey.count:
        return found
    before = record.document()
    computed = survey.describe(before)
    for name in _WHOLES:
        _fall_back(found, computed, before, name)
    for name in _PARTS:
        if isinstance(found.get(name), dict):
            parts = dict(found[name])
            for key in list(parts):
                _fall_back(parts, mapping(computed, name), mapping(before, name), key)
            found[name] = parts
            if not parts and name not in before:
                del found[name]
    _fall_back(found, computed, before, "stac_extensions")
    return found


def _fall_back(
    found: dict[str, Any], computed: Mapping[str, Any], before: Mapping[str, Any], name: str
) -> None:
    """Set a member back to what was stated if it is as it was computed."""
    if name not in found or name not in computed or found[name] != computed[name]:
        return
    if name in before:
        found[name] = before[name]
    else:
        del found[name]


class Texts:
    """Documents that were described, as JSON by id and version; threads share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def get(self, record: Record) -> dict[str, Any] | None:
        """Return a copy of a document, or None."""
        key = (record.id, record.version)
        with self._lock:
            text = self._kept.get(key)
            if text is None:
                return None
            self._kept.move_to_end(key)
        found: dict[str, Any] = json.loads(text)
        return found

    def put(self, record: Record, document: Mapping[str, Any]) -> None:
        """Keep a document."""
        with self._lock:
            self._kept[record.id, record.version] = json.dumps(document)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
