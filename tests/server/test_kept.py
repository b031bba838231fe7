"""Tiles that are kept are those that would be made, within their bytes, and made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.server.small import COLLECTION, graph, made_service, make_home

from terrazzo.ledger import LOCAL
from terrazzo.progress import Cancelled
from terrazzo.server.app import create_app
from terrazzo.server.maps.kept import OVERHEAD, KeptTiles
from terrazzo.server.maps.patient import AnswerTooLong
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.faults import SearchTooLong
from terrazzo.server.web.work import ClientGone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.drivers.job import Workspace


@given(asked=st.lists(st.integers(0, 9), max_size=60), room=st.integers(0, 5000))
def test_whatever_is_kept_is_what_would_be_made(asked: Sequence[int], room: int) -> None:
    kept = KeptTiles(room)

    tiles = [kept.get(key, lambda key=key: bytes([key]) * 100 * key) for key in asked]

    assert tiles == [bytes([key]) * 100 * key for key in asked]
    assert kept.bytes_held <= room


def test_the_tile_that_nobody_asked_for_longest_goes_first() -> None:
    kept, made = KeptTiles(2 * (100 + OVERHEAD)), list[str]()

    def ask(key: str) -> None:
        kept.get(key, lambda: made.append(key) or b"." * 100)

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)

    assert made == ["a", "b", "c", "b"]


def test_two_who_want_one_tile_get_one_computation() -> None:
    kept, made, begun, go_on = KeptTiles(10_000), list[int](), threading.Event(), threading.Event()

    def make() -> bytes:
        made.append(1)
        begun.set()
        go_on.wait(5)
        return b"tile"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "key", make)
        begun.wait(5)
        second = pool.submit(kept.get, "key", make)
        go_on.set()
        tiles = [first.result(), second.result()]

    assert tiles == [b"tile", b"tile"]
    assert len(made) == 1


@pytest.mark.parametrize(
    "error", [Cancelled(), ClientGone(), AnswerTooLong("late"), SearchTooLong("late")]
)
def test_whoever_leaves_takes_no_tile_from_those_who_wait(error: Exception) -> None:
    begun, joined, leave = (threading.Event() for _ in range(3))
    told: list[str] = []

    def count(where: str, _: int) -> None:
        told.append(where)
        if where == "joined":
            joined.set()

    kept = KeptTiles(10_000, count)

    def stopped() -> bytes:
        begun.set()
        leave.wait(60)
        raise error

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "key", stopped)
        assert begun.wait(60)
        second = pool.submit(kept.get, "key", lambda: b"tile")
        assert joined.wait(60)
        leave.set()

        with pytest.raises(type(error)):
            first.result(60)
        assert second.result(60) == b"tile"
    assert told == ["made", "joined", "made"]


def test_failures_are_not_kept() -> None:
    kept = KeptTiles(10_000)

    def fail() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        kept.get("key", fail)

    assert kept.get("key", lambda: b"tile") == b"tile"


def counted(app: Any, service: str) -> list[tuple[Any, ...]]:
    """Return a list that grows with every tile that is computed."""
    opened, computed = app.state.parts.maps.opened(LOCAL, service).tiles, []
    make = opened.picture

    def picture(*where: Any, **how: Any) -> bytes | None:
        computed.append(where)
        return make(*where, **how)

    opened.picture = picture
    return computed


@pytest.mark.parametrize(("room", "computations"), [(64_000_000, 2), (0, 4)])
def test_a_tile_is_computed_once_for_each_way_to_show_it(
    workspace: Workspace, service: dict[str, Any], room: int, computations: int
) -> None:
    app = create_app(workspace, ServerSettings(kept_bytes=room))
    tile = f"/services/{service['id']}/tiles/native/1/0/0.png"
    with TestClient(app) as client:
        computed = counted(app, service["id"])

        answers = [client.get(tile + query).content for query in ("", "", "?min=0.3", "?min=0.3")]

    assert answers[0] == answers[1] != answers[2] == answers[3]
    assert len(computed) == computations


def test_a_changed_collection_is_a_new_tile(tmp_path: Path) -> None:
    workspace = make_home(tmp_path)
    with TestClient(create_app(workspace)) as client:
        name = made_service(client, graph(), configuration={"min": 0.0, "max": 1.0})
        tile = f"/services/{name}/tiles/native/1/0/0.png"
        before = client.get(tile)

        workspace.catalog().delete_items(COLLECTION, ["scene_20190501"])
        after = client.get(tile)

    assert before.headers["etag"] != after.headers["etag"]
    assert before.content != after.content
