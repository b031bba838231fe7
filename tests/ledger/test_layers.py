"""Graphs that screens show: kept by digest, a bounded number of each account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terrazzo.ledger import ANONYMOUS, Principal
from terrazzo.ledger.layers import (
    LARGEST_ANONYMOUS,
    KeptLayer,
    LayerNotFound,
    LayerTooLarge,
    keep_layer,
    kept_layer,
)

if TYPE_CHECKING:
    from terrazzo.ledger import Database

OWNER, OTHER = Principal("owner"), Principal("other")


def layer(number: int, who: Principal = OWNER, title: str = "") -> KeptLayer:
    process = {"process_graph": {"a": {"process_id": "b", "arguments": {"n": number}}}}
    return KeptLayer(f"{number:064x}", who.id, process, {"mine": {"id": "mine"}}, title)


def test_a_layer_comes_back_as_it_was_opened(database: Database) -> None:
    keep_layer(database, OWNER, layer(1, title="One"))
    keep_layer(database, OWNER, layer(1, title="Uno"))

    assert kept_layer(database, OWNER, layer(1).id) == layer(1, title="Uno")


def test_everybody_finds_it_by_its_digest_and_their_own_first(database: Database) -> None:
    keep_layer(database, OTHER, layer(1, OTHER, "theirs"))
    keep_layer(database, OWNER, layer(1, title="mine"))

    assert kept_layer(database, OTHER, layer(1).id).title == "theirs"
    assert kept_layer(database, OWNER, layer(1).id).title == "mine"
    assert kept_layer(database, ANONYMOUS, layer(1).id).owner in {"owner", "other"}


def test_those_that_were_opened_longest_ago_go(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terrazzo.ledger.layers.MOST", 3)
    keep_layer(database, OTHER, layer(0, OTHER))
    for number in (1, 2, 3, 1, 4):
        keep_layer(database, OWNER, layer(number))

    with pytest.raises(LayerNotFound):
        kept_layer(database, OWNER, layer(2).id)
    for number in (0, 1, 3, 4):
        assert kept_layer(database, OWNER, layer(number).id) is not None


def test_large_graphs_are_kept_of_those_who_are_logged_in_only(database: Database) -> None:
    process = {"process_graph": {"a": {"text": "x" * LARGEST_ANONYMOUS}}}
    large = KeptLayer("f" * 64, "", process)

    keep_layer(database, OWNER, large)

    with pytest.raises(LayerTooLarge, match="not logged in"):
        keep_layer(database, ANONYMOUS, large)


@pytest.mark.parametrize("name", ["", "x", "0" * 63, "\x00" * 64, "É" * 64, "0" * 64])
def test_what_names_no_layer_is_not_found(database: Database, name: str) -> None:
    with pytest.raises(LayerNotFound):
        kept_layer(database, OWNER, name)
