"""Many files at once: results that depend on no number of workers, and folders without surprise."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.storage.files import field, write_tif

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion.product_files import xml_names
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping


def scenes(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        write_tif(
            folder / f"S_202001{number + 1:02}.tif", field(200, 150 + number, number), nodata=0
        )
    return folder


def documents(workspace: Workspace) -> dict[str, Mapping[str, Any]]:
    with workspace.catalog() as catalog:
        found = {item["id"]: item for item in catalog.search(("s",))}
    for item in found.values():
        for asset in item["assets"].values():
            asset["href"] = Path(asset["href"]).name
            asset.pop("terrazzo:header", None)  # has the time of the file
            asset.pop("updated", None)
    return found


@pytest.mark.parametrize("copy", [True, False])
def test_workers_change_no_byte(tmp_path: Path, copy: bool) -> None:
    source = scenes(tmp_path / "scenes", 9)
    made: list[tuple[dict[str, Mapping[str, Any]], dict[str, str]]] = []

    for workers in (1, 4):
        workspace = Workspace.of(tmp_path / f"home-{workers}")
        options = IngestOptions(copy=copy, workers=workers)
        assert ingest([source], "s", workspace, options=options).made == 9
        files = {
            path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in workspace.assets.rglob("*.tif")
        }
        made.append((documents(workspace), files))

    assert made[0] == made[1]
    assert len(made[0][1]) == (9 if copy else 0)


def test_files_of_one_place_and_of_several_have_their_own_footprints(tmp_path: Path) -> None:
    source = tmp_path / "scenes"
    source.mkdir()
    for number in range(4):
        write_tif(
            source / f"S_2020010{number + 1}.tif",
            field(20, 20 + 10 * (number // 2)),
        )
    workspace = Workspace.of(tmp_path / "home")

    ingest([source], "s", workspace)

    boxes = [item["bbox"] for _, item in sorted(documents(workspace).items())]
    assert boxes[0] == boxes[1] != boxes[2] == boxes[3]
    widths = np.array([east - west for west, _, east, _ in boxes])
    np.testing.assert_allclose(widths[2] / widths[0], 1.5, rtol=1e-3)


def test_a_folder_is_listed_anew_when_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "b.xml").write_text("<a/>")
    before = xml_names(tmp_path)

    (tmp_path / "a.xml").write_text("<a/>")
    (tmp_path / "c.txt").write_text("")

    assert before == ("b.xml",)
    assert xml_names(tmp_path) == ("a.xml", "b.xml")
