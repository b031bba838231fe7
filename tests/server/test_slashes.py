"""Paths that clients joined with one slash too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.mark.parametrize("path", ["//health", "///health"])
def test_slashes_at_the_beginning_are_one(client: TestClient, path: str) -> None:
    answer = client.get(f"http://testserver{path}")

    assert answer.json()["status"] == "ok"


def test_slashes_further_on_are_kept(client: TestClient) -> None:
    answer = client.get("http://testserver/layers//health")

    assert answer.status_code == 404
