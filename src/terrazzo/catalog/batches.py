"""Items on their way into the embedded catalogue, checked before the file is locked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from terrazzo.catalog.documents import item_row
from terrazzo.catalog.packing import unpacked
from terrazzo.catalog.rows import next_row, put_rows, rows_of
from terrazzo.catalog.stored import StoredItem
from terrazzo.catalog.survey import Gathering, Survey
from terrazzo.catalog.taken import ItemExists

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from terrazzo.catalog.documents import ItemRow

_BODIES = """
    SELECT c.id, i.id, d.body, c.dictionary FROM json_each(?) k CROSS JOIN item i ON i.row = k.value
    CROSS JOIN document d ON d.row = i.row CROSS JOIN collection c ON c.number = i.collection"""
_CHANGED = """
    UPDATE collection SET version = ?, longest = max(longest, ?), survey = ? WHERE number = ?"""


@dataclass(slots=True)
class Batch:
    """Items that are stored together or not at all."""

    rows: dict[str, dict[str, ItemRow]] = field(default_factory=dict)
    """The last ones of each id, by collection and id."""
    surveys: dict[str, Survey] = field(default_factory=dict)
    """What they have in common, by collection."""
    count: int = 0
    """How many there are, those of equal ids too."""

    @classmethod
    def of(cls, items: Iterable[Mapping[str, Any]], *, new: bool = False) -> Batch:
        """Check items.

        Raises:
            ArgumentInvalid: see `item_row`.
            ItemExists: `new`, and an id comes twice.
        """
        batch, gatherings = cls(), dict[str, Gathering]()
        replaced: list[ItemRow] = []
        for item in items:
            row = item_row(item)
            mine = batch.rows.setdefault(row.collection, {})
            if row.collection not in gatherings:
                gatherings[row.collection] = Gathering(Survey())
            gatherings[row.collection].add(item, (row.start, row.stop))
            if row.id in mine:
                if new:
                    raise ItemExists(row.collection, row.id)
                replaced.append(mine[row.id])
            mine[row.id] = row
            batch.count += 1
        for name, gathering in gatherings.items():
            gathering.done()
            batch.surveys[name] = gathering.survey
        for row in replaced:
            batch.surveys[row.collection].remove(row.stored.document())
        return batch

    def put(
        self,
        connection: sqlite3.Connection,
        numbers: Mapping[str, int],
        version: str,
        *,
        new: bool = False,
    ) -> None:
        """Store the items.

        Args:
            connection: in a transaction.
            numbers: those of the collections.
            version: what the collections get as theirs.
            new: whether none of the items must be there yet.

        Raises:
            ItemExists: `new`, and one is there.
        """
        for name, mine in self.rows.items():
            number = numbers[name]
            there = rows_of(connection, number, list(mine))
            if new and there:
                raise ItemExists(name, min(there))
            survey = kept_survey(connection, number)
            if survey is not None:
                survey.merge(self.surveys[name])
                for document in documents_of(connection, list(there.values())):
                    survey.remove(document)
            fresh = next_row(connection)
            rows: dict[int, ItemRow] = {}
            for key, row in mine.items():
                if key in there:
                    rows[there[key]] = row
                else:
                    rows[fresh] = row
                    fresh += 1
            put_rows(connection, number, rows, list(there.values()))
            longest = max(row.stop - row.start for row in mine.values())
            # No two collections share a version: what is made of one is kept by it.
            keep_change(connection, number, f"{version}-{number}", longest, survey)


def kept_survey(connection: sqlite3.Connection, number: int) -> Survey | None:
    """Return the survey of a collection; None where it has to be made anew."""
    (text,) = connection.execute(
        "SELECT survey FROM collection WHERE number = ?", (number,)
    ).fetchone()
    return None if text is None else Survey.of_text(text)


def keep_change(
    connection: sqlite3.Connection, number: int, version: str, longest: int, survey: Survey | None
) -> None:
    """Note that a collection's items have changed."""
    text = None if survey is None else survey.to_text()
    connection.execute(_CHANGED, (version, longest, text, number))


def documents_of(connection: sqlite3.Connection, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Return the documents of items by their rows."""
    found = connection.execute(_BODIES, (json.dumps(list(rows)),))
    for collection, name, body, dictionary in found:
        yield StoredItem(collection, name, unpacked(body, dictionary)).document()
