"""The collections that are compared with what others make of the same files."""

from __future__ import annotations

import pytest
from tests.drivers.scenes import Scenes, make_scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """The small Sentinel-2-like collection."""
    return make_scenes(tmp_path_factory.mktemp("scenes"))
