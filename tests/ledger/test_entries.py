"""Logs: what was told, in order, page by page."""

from __future__ import annotations

import json

import pytest

from terrazzo.ledger import Database, entries
from terrazzo.logs import Entry, Level


def write(database: Database, *told: Entry, name: str = "a") -> None:
    with database.writing() as connection:
        entries.add(connection, "job", name, told)


def messages(database: Database, **options: object) -> list[str]:
    return [one["message"] for one in entries.listed(database, "job", "a", **options)]  # type: ignore[arg-type]


def test_entries_come_in_order_and_go_on_behind_the_last_one(database: Database):
    write(database, *(Entry(Level.INFO, str(number)) for number in range(5)))
    write(database, Entry(Level.INFO, "other"), name="b")

    first = entries.listed(database, "job", "a", limit=2)
    rest = messages(database, after=first[-1]["id"])

    assert [one["message"] for one in first] + rest == ["0", "1", "2", "3", "4"]


def test_less_serious_entries_are_left_out(database: Database):
    write(database, *(Entry(level, level.value) for level in Level))

    kept = {level: messages(database, level=level) for level in Level}

    assert kept[Level.ERROR] == ["error"]
    assert kept[Level.WARNING] == ["error", "warning"]
    assert kept[Level.DEBUG] == ["error", "warning", "info", "debug"]


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "²", "9" * 30])
def test_an_offset_that_is_no_id_is_refused(database: Database, after: str):
    with pytest.raises(entries.LogOffsetInvalid, match="offset"):
        entries.listed(database, "job", "a", after=after)


def test_numbers_are_not_used_again(database: Database):
    write(database, Entry(Level.INFO, "old"))
    (old,) = entries.listed(database, "job", "a")
    with database.writing() as connection:
        entries.clear(connection, "job", "a")

    write(database, Entry(Level.INFO, "new"))

    assert messages(database, after=old["id"]) == ["new"]


def test_trimming_keeps_the_newest(database: Database):
    write(database, *(Entry(Level.INFO, str(number)) for number in range(5)))

    with database.writing() as connection:
        entries.trim(connection, "job", "a", 2)

    assert messages(database) == ["3", "4"]


def test_a_text_that_no_database_keeps_is_kept(database: Database):
    write(database, Entry(Level.INFO, "a\0b", data={"x": "\0"}))

    assert messages(database) == ["a\ufffdb"]


def test_data_that_are_too_large_are_said_to_be_left_out(database: Database):
    write(database, Entry(Level.INFO, "much", data="x" * entries.LARGEST))

    (one,) = entries.listed(database, "job", "a")

    assert "left out" in one["data"]


def test_what_no_answer_can_hold_is_kept_as_text(database: Database):
    data = {"nan": float("nan"), "list": [float("-inf"), 1.5], "half \ud800": ("\ud800", None)}
    write(database, Entry(Level.INFO, "half \ud800", data=data))

    (one,) = entries.listed(database, "job", "a")

    assert one["message"] == "half ?"
    assert one["data"] == {"nan": "nan", "list": ["-inf", 1.5], "half ?": ["?", None]}
    json.dumps(one, allow_nan=False, ensure_ascii=False).encode()


def test_messages_that_are_too_long_are_cut(database: Database):
    write(database, Entry(Level.INFO, "m" * 1_000_000, "c" * 1_000_000))

    (one,) = entries.listed(database, "job", "a")

    assert one["message"] == "m" * entries.LONGEST + "... (1,000,000 letters)"
    assert len(one["code"]) < entries.LONGEST + 100


def test_data_that_are_nested_too_deeply_are_left_out(database: Database):
    data: list[object] = []
    for _ in range(100_000):
        data = [data]
    write(database, Entry(Level.INFO, "deep", data=data))

    (one,) = entries.listed(database, "job", "a")

    assert "nested too deeply" in one["data"]
