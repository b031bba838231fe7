"""Tests of GRASS need GRASS."""

from __future__ import annotations

import pytest
from tests.grass.oracle import need_grass


@pytest.fixture(scope="session", autouse=True)
def _grass() -> None:
    need_grass()
