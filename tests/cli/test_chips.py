"""Chips, peers and outliers on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.drivers.farm import ODD, crops, make_farm

from terrazzo.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from tests.drivers.farm import Farm


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Farm:
    return make_farm(tmp_path_factory.mktemp("farm"))


def run(farm: Farm, *arguments: object) -> Result:
    texts = ["--home", str(farm.folder / "home"), *map(str, arguments)]
    return CliRunner().invoke(main, texts)


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_sheet_is_a_picture_a_page_or_a_folder(farm: Farm, tmp_path: Path):
    command = ("chips", farm.extraction, "f6", "--datetime", "2024", "--class", "crop", "-o")

    (png,) = lines(run(farm, *command, tmp_path / "f6.png"))
    (page,) = lines(run(farm, *command, tmp_path / "f6.html"))
    files = lines(run(farm, *command, tmp_path / "new" / "f6"))

    assert png == {"path": str(tmp_path / "f6.png")}
    assert page == {"path": str(tmp_path / "f6.html")}
    with Image.open(tmp_path / "f6.png") as picture:
        assert picture.format == "PNG"
    text = (tmp_path / "f6.html").read_text()
    peers = crops().count("wheat") - 1
    assert f"{peers} peers, crop wheat" in text
    assert "7 dates, 2024-03-05 to 2024-09-01" in text
    assert files == [
        {"path": str(path)} for path in sorted((tmp_path / "new" / "f6").glob("2024-*.png"))
    ]
    assert len(files) == 7


def test_another_node_is_drawn_in_other_colours(farm: Farm, tmp_path: Path):
    bands = ("--node", "load", "--bands", "nir,red,red", "--min", 0, "--max", 4000)

    lines(run(farm, "chips", farm.extraction, "f6", "-o", tmp_path / "f6.html", *bands))

    assert "red, green, blue: nir, red, red; 0 to 4000" in (tmp_path / "f6.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("f6", "-o", "f6.jpg"), ".png or .html"),
        (("f99", "-o", "f99.png"), "There is no parcel 'f99'"),
        (("f6", "-o", "f6.png", "--min", 1), "--min and --max belong together"),
        (("f6", "-o", "f6.png", "--min", 2, "--max", 1), "--min must be below --max"),
        (("f6", "-o", "f6.png", "--node", "cube"), "no node 'cube'"),
        (("f6", "-o", "f6.png", "--datetime", "2020"), "There is no image in that time"),
        (("f6", "-o", "f6.png", "--class", "krop"), "'krop'"),
        (("f6", "-o", "f6.png", "--stat", "meen"), "meen"),
        (("f6", "-o", "f6.png", "--stat", "histogram:0:1:5"), "is not one number for a date"),
        (("f6", "-o", "f6.png", "--colors", "jetty"), "no colour map 'jetty'"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(
    farm: Farm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    told: str,
):
    monkeypatch.chdir(tmp_path)

    result = run(farm, "chips", farm.extraction, *arguments)

    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "fault of Terrazzo" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_peers_are_lines_the_nearest_first(farm: Farm):
    found = lines(run(farm, "peers", farm.extraction, "f6", "--class", "crop", "--most", 4))

    metres = [float(str(line["metres"])) for line in found]
    assert len(found) == 4
    assert metres == sorted(metres)
    assert all(crops()[int(str(line["id"])[1:])] == "wheat" for line in found)


def test_outliers_are_lines_the_farthest_first_and_a_file_with_all(farm: Farm, tmp_path: Path):
    path = tmp_path / "outliers.csv"

    found = lines(
        run(farm, "outliers", farm.extraction, "--class", "crop", "--limit", 3, "-o", path)
    )

    assert found[0]["id"] == f"f{ODD}"
    assert len(found) == 3
    assert len(path.read_text().splitlines()) == len(crops()) + 1
