"""What is read out of a run's folder is made names of files, and leads nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.drivers.scenes import composite, job_of
from tests.drivers.test_tile_grids import OWN, brightest, on_grid

from terrazzo.cli import main
from terrazzo.drivers.batch import run
from terrazzo.drivers.block_names import is_below, is_plain
from terrazzo.drivers.described import FILE, Results
from terrazzo.drivers.places import Place
from terrazzo.drivers.publish import publish
from terrazzo.drivers.sending import Destination, send_run
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import Progress
from terrazzo.storage.remote.objects import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.drivers.scenes import Scenes

ELSEWHERE = [
    "../precious.tif",
    "../../x",
    "{outside}/precious.tif",
    "..",
    ".",
    "",
    "a//b",
    "a\0",
    5,
]
"""No names of files in a folder; `{outside}` is an absolute path."""


@pytest.fixture(scope="module")
def finished(scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of two dates tells of itself."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    run(job_of(composite()), scenes.workspace, folder)
    told: dict[str, Any] = json.loads((folder / FILE).read_text())
    assert Results.of(folder) is not None
    return told


def hostile(told: dict[str, Any], change: Callable[[dict[str, Any]], None], folder: Path) -> Path:
    """Write a changed description into a folder beside which lies what is not of the run."""
    told = json.loads(json.dumps(told))
    change(told)
    folder.mkdir()
    (folder / FILE).write_text(json.dumps(told))
    (folder.parent / "precious.tif").write_bytes(b"not of this run")
    return folder


def renamed(name: object, outside: Path) -> Callable[[dict[str, Any]], None]:
    """Return what gives the first file of a description another name."""

    def change(told: dict[str, Any]) -> None:
        (asset,) = told["parts"][0]["assets"].values()
        asset["file"] = name.format(outside=outside) if isinstance(name, str) else name

    return change


@pytest.mark.parametrize("name", ELSEWHERE)
def test_files_that_lie_elsewhere_are_neither_published_nor_sent(
    own_scenes: Scenes, finished: dict[str, Any], tmp_path: Path, name: object
):
    folder = hostile(finished, renamed(name, tmp_path), tmp_path / "run")
    place = Place.of("s3://images/there")
    assert place.store is not None
    nowhere = Destination(place, Bucket(place.bucket, place.store), Progress())

    with pytest.raises(ArgumentInvalid, match="no file in its folder"):
        publish(folder, "monthly", own_scenes.workspace)
    with pytest.raises(ArgumentInvalid, match="no file in its folder"):
        send_run(folder, nowhere)
    told = CliRunner().invoke(
        main,
        ["--home", str(own_scenes.workspace.home), "publish", str(folder), "--collection", "x"],
    )

    assert told.exit_code == 2
    assert not list((own_scenes.workspace.assets / "monthly").rglob("*.tif"))


@pytest.mark.parametrize("digest", ["../../../x", "/etc/passwd", "..", "", None, 7])
def test_a_digest_that_is_none_names_no_item(
    own_scenes: Scenes, finished: dict[str, Any], tmp_path: Path, digest: object
):
    def change(told: dict[str, Any]) -> None:
        told["provenance"]["terrazzo:graph_digest"] = digest

    folder = hostile(finished, change, tmp_path / "run")

    with pytest.raises(ArgumentInvalid, match="no digest of a graph"):
        publish(folder, "monthly", own_scenes.workspace)


@pytest.mark.parametrize("member", ["parts", "provenance", "id", "skipped", "bbox"])
def test_half_a_description_is_none(
    own_scenes: Scenes, finished: dict[str, Any], tmp_path: Path, member: str
):
    folder = hostile(finished, lambda told: told.pop(member), tmp_path / "run")

    assert Results.of(folder) is None
    with pytest.raises(ArgumentInvalid, match="holds no finished run"):
        publish(folder, "monthly", own_scenes.workspace)


@pytest.mark.parametrize("what", ["file", "id"])
def test_a_tile_that_is_described_by_somebody_else_leads_nowhere(
    scenes: Scenes, tmp_path: Path, what: str
):
    out = tmp_path / "deep" / "out"
    on_grid(scenes, out, brightest(), OWN)
    path = out / "tiles" / "E000S001" / FILE
    told = json.loads(path.read_text())
    if what == "file":
        renamed("../../../precious.tif", tmp_path)(told)
    else:
        told["id"] = "../../precious"
    path.write_text(json.dumps(told))
    before = sorted(one for one in tmp_path.rglob("*") if out not in one.parents)

    # The first is found when tiles are looked at, the second when their items are written.
    with pytest.raises((RunIncomplete, ArgumentInvalid), match=r"no file in its|no name"):
        on_grid(scenes, out, brightest(), OWN)

    assert sorted(one for one in tmp_path.rglob("*") if out not in one.parents) == before


@pytest.mark.parametrize(
    ("path", "plain", "below"),
    [
        ("result.tif", True, True),
        ("node/result.tif", False, True),
        ("/result.tif", False, False),
        ("node/../../x", False, False),
        ("node//x", False, False),
        ("node/", False, False),
        ("", False, False),
        (None, False, False),
        (["a"], False, False),
    ],
)
def test_names_and_paths_below_are_told_from_others(path: object, *, plain: bool, below: bool):
    assert is_plain(path) == plain
    assert is_below(path) == below
