"""The openEO description of every process says what the official specification says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.grass.oracle import PROCESSES as EXTENSIONS

from terrazzo.processes import PROCESSES

if TYPE_CHECKING:
    from pathlib import Path


def parameters(description: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": parameter["name"],
            "optional": parameter.get("optional", False),
            "default": parameter.get("default"),
            "schema": parameter["schema"],
        }
        for parameter in description["parameters"]
    ]


@pytest.mark.parametrize("name", sorted(PROCESSES.keys() - EXTENSIONS))
def test_description_is_official(name: str, shared: Path) -> None:
    folder = shared / "openeo" / "specs"
    path = folder / f"{name}.json"
    if not path.is_file():
        path = folder / "proposals" / f"{name}.json"
    official = json.loads(path.read_text())

    ours = json.loads(json.dumps(PROCESSES[name].spec.to_json()))

    assert parameters(ours) == parameters(official)
    assert ours["returns"]["schema"] == official["returns"]["schema"]
    assert ours.get("experimental", False) == official.get("experimental", False)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_description_has_words(name: str) -> None:
    spec = PROCESSES[name].spec

    assert spec.summary
    assert spec.categories
    assert spec.returns["description"]
    assert all(parameter.description for parameter in spec.parameters)
    assert "Source:" in (PROCESSES[name].function.__doc__ or "")
