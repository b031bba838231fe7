"""User-defined processes in the ledger, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.errors import GraphInvalid
from terrazzo.ledger import ANONYMOUS, Principal, processes
from terrazzo.ledger.processes import (
    LARGEST,
    LONGEST_ID,
    MOST,
    PredefinedProcessExists,
    ProcessesTooLarge,
    ProcessIdInvalid,
    ProcessInvalid,
    ProcessNotFound,
    TooManyProcesses,
    UserProcesses,
    processes_of,
)

if TYPE_CHECKING:
    from terrazzo.ledger import Database

ANN, BEN = Principal("ann"), Principal("ben")
ADMIN = Principal("root", admin=True)
NUMBER = {"type": "number"}


def calling(*names: str, **more: Any) -> dict[str, Any]:
    """Return a process that calls others, one after the other."""
    nodes = {
        f"n{place}": {"process_id": name, "arguments": {}, "result": place == len(names) - 1}
        for place, name in enumerate(names)
    }
    return {"process_graph": nodes, **more}


DOUBLE = {
    "summary": "Twice",
    "parameters": [{"name": "x", "description": "", "schema": NUMBER}],
    "returns": {"schema": NUMBER},
    "process_graph": {
        "m": {
            "process_id": "multiply",
            "arguments": {"x": {"from_parameter": "x"}, "y": 2},
            "result": True,
        }
    },
}


def test_a_process_comes_back_as_it_was_stored(database: Database) -> None:
    store = UserProcesses(database)

    store.put(ANN, "double", {**DOUBLE, "id": "other", "public": True})

    assert store.get(ANN, "double") == {**DOUBLE, "id": "double"}


def test_a_list_tells_of_processes_by_id_without_their_graphs(database: Database) -> None:
    store = UserProcesses(database)
    for name in ("c", "a", "b"):
        store.put(ANN, name, {**DOUBLE, "links": [{"href": "https://a.example", "rel": "about"}]})

    listed = store.listed(ANN)

    assert [one["id"] for one in listed] == ["a", "b", "c"]
    assert listed[0].keys() == {"id", "summary", "parameters", "returns"}
    assert [one["id"] for one in store.listed(ANN, "a", 1)] == ["b"]


def test_storing_again_replaces_the_whole(database: Database) -> None:
    store = UserProcesses(database)
    store.put(ANN, "double", DOUBLE)

    store.put(ANN, "double", calling("pi"))

    assert store.get(ANN, "double") == {"id": "double", **calling("pi")}


def test_many_may_store_one_process_at_the_same_moment(database: Database) -> None:
    def put(number: int) -> None:
        UserProcesses(database).put(ANN, "mine", DOUBLE | {"summary": str(number)})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(40)))

    assert len(UserProcesses(database).listed(ANN)) == 1


def test_what_is_deleted_is_gone(database: Database) -> None:
    store = UserProcesses(database)
    store.put(ANN, "double", DOUBLE)

    store.delete(ANN, "double")

    with pytest.raises(ProcessNotFound):
        store.get(ANN, "double")
    with pytest.raises(ProcessNotFound):
        store.delete(ANN, "double")


@pytest.mark.parametrize("other", [BEN, ADMIN, ANONYMOUS])
def test_processes_belong_to_their_owner_alone(database: Database, other: Principal) -> None:
    store = UserProcesses(database)
    store.put(ANN, "double", DOUBLE)

    with pytest.raises(ProcessNotFound):
        store.get(other, "double")
    with pytest.raises(ProcessNotFound):
        store.delete(other, "double")
    assert store.listed(other) == []
    assert processes_of(database, other, calling("double")) == {}
    assert store.get(ANN, "double")["summary"] == "Twice"


def test_two_users_have_a_process_of_one_name(database: Database) -> None:
    store = UserProcesses(database)
    store.put(ANN, "mine", calling("pi"))
    store.put(BEN, "mine", calling("e"))

    assert store.get(ANN, "mine")["process_graph"]["n0"]["process_id"] == "pi"
    assert store.get(BEN, "mine")["process_graph"]["n0"]["process_id"] == "e"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../a", "a\n", "a" * (LONGEST_ID + 1), "a\0"])
def test_names_that_cannot_be_are_refused(database: Database, name: str) -> None:
    with pytest.raises(ProcessIdInvalid):
        UserProcesses(database).put(ANN, name, DOUBLE)


def test_names_may_have_hyphens_as_those_of_test_suites_do(database: Database) -> None:
    name = "0f9a6b1c-7f0e-4d7c-9f46-1d3b5f5a7c11"

    UserProcesses(database).put(ANN, name, DOUBLE)

    assert UserProcesses(database).get(ANN, name)["id"] == name


def test_predefined_processes_are_not_replaced(database: Database) -> None:
    with pytest.raises(PredefinedProcessExists, match="add"):
        UserProcesses(database).put(ANN, "add", DOUBLE)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"process_graph": {}},
        {"process_graph": []},
        {"process_graph": {"a": 1}},
        {"process_graph": {"a": {"process_id": "pi"}}},
        calling("pi", "pi") | {"process_graph": {}},
        {"process_graph": {"a": {"process_id": "add", "arguments": {"x": {"from_node": "b"}}}}},
    ],
)
def test_what_is_no_graph_is_refused(database: Database, document: dict[str, Any]) -> None:
    with pytest.raises(GraphInvalid):
        UserProcesses(database).put(ANN, "mine", document)


def test_a_process_may_be_stored_before_those_that_it_calls(database: Database) -> None:
    UserProcesses(database).put(ANN, "mine", calling("later", "absolute"))

    assert [one["id"] for one in UserProcesses(database).listed(ANN)] == ["mine"]


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {}},
        {"parameters": [1]},
        {"parameters": [{"schema": {}}]},
        {"parameters": [{"name": "x", "schema": 1}]},
        {"returns": []},
        {"returns": {"schema": "number"}},
        {"summary": 1},
        {"categories": [1]},
        {"links": ["https://a.example"]},
        {"deprecated": "yes"},
    ],
)
def test_descriptions_that_no_client_can_read_are_refused(
    database: Database, more: dict[str, Any]
) -> None:
    with pytest.raises(ProcessInvalid):
        UserProcesses(database).put(ANN, "mine", DOUBLE | more)


def test_nobody_has_more_processes_than_one_may(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terrazzo.ledger.processes.MOST", 2)
    store = UserProcesses(database)
    for name in ("a", "b", "b"):
        store.put(ANN, name, DOUBLE)

    with pytest.raises(TooManyProcesses, match="2"):
        store.put(ANN, "c", DOUBLE)

    assert MOST >= 100
    assert len(store.listed(ANN)) == 2


def test_a_graph_gets_the_processes_that_it_calls_and_those_that_they_call(
    database: Database,
) -> None:
    store = UserProcesses(database)
    store.put(ANN, "outer", calling("inner", "absolute"))
    store.put(ANN, "inner", calling("innermost", "missing"))
    store.put(ANN, "innermost", calling("outer"))  # a cycle, which the parser reports
    store.put(ANN, "other", DOUBLE)
    callback = {"process_graph": calling("outer")["process_graph"]}
    graph = {"a": {"process_id": "apply", "arguments": {"process": callback}}}

    found = processes_of(database, ANN, {"process": {"process_graph": graph}})

    assert found.keys() == {"outer", "inner", "innermost"}


def test_graphs_of_predefined_processes_ask_no_database() -> None:
    nowhere: Any = None

    assert processes_of(nowhere, ANN, calling("add", "pi")) == {}


@pytest.mark.parametrize("name", ["a\0b", "a b", ""])
def test_what_can_be_no_id_is_not_there(database: Database, name: str) -> None:
    store = UserProcesses(database)

    with pytest.raises(ProcessNotFound):
        store.get(ANN, name)
    with pytest.raises(ProcessNotFound):
        store.delete(ANN, name)


def test_a_process_that_is_too_large_is_not_kept(database: Database) -> None:
    store = UserProcesses(database)

    with pytest.raises(ProcessesTooLarge, match=f"{LARGEST:,}"):
        store.put(ANN, "large", calling("pi", description="x" * LARGEST))

    assert store.listed(ANN) == []


def test_processes_that_are_too_large_together_are_not_kept_with_a_graph(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UserProcesses(database)
    for name in ("a", "b", "c"):
        store.put(ANN, name, calling("pi", description="x" * 1000))
    monkeypatch.setattr(processes, "LARGEST_TOGETHER", 3000)

    assert processes_of(database, ANN, calling("a", "b")).keys() == {"a", "b"}
    with pytest.raises(ProcessesTooLarge, match="together"):
        processes_of(database, ANN, calling("a", "b", "c"))
