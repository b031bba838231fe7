"""The small collection of real files that drivers are tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import Scenes, make_scenes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """The collection, made once; for tests that only read it."""
    return make_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def own_scenes(tmp_path: Path) -> Scenes:
    """A collection of its own for a test that damages it."""
    return make_scenes(tmp_path / "home")
