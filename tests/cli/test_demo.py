"""The demo on the real sample: all steps, a second run, and a port that is taken."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
from tests.cli.conftest import Shell

from terrazzo.cli.parcels import ALIGNED, WITH_HOLE, parcels
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("demo")
    done = Shell(home)("demo", "--check", "--home", home)
    assert done.returncode == 0, done.stderr
    return home, done.stdout


@pytest.mark.slow
def test_demo_makes_everything_and_says_where(demo: tuple[Path, str]) -> None:
    home, told = demo

    steps = [line.split()[0] for line in told.splitlines() if line[:1].isalpha()]
    years = sorted(home.glob("ndvi-*/result_*.tif"))

    assert [
        s
        for s in ("ingest", "service", "tile", "batch", "extract", "check", "serve")
        if s not in steps
    ] == []
    assert "the same to the bit" in told
    assert "http://127.0.0.1:" in told
    assert [path.stem[-4:] for path in years] == ["2015", "2016", "2017", "2018", "2019", "2020"]
    assert list((home / "tiles").glob("*.png"))


@pytest.mark.slow
def test_demo_table_is_what_rasterio_and_numpy_say(demo: tuple[Path, str]) -> None:
    home, _ = demo
    (path,) = home.glob("ndvi-*/result_2020.tif")
    with rasterio.open(path) as file:
        pixels = file.read(1)[ALIGNED].astype(float)

    (folder,) = home.glob("parcels-*")
    rows = pq.read_table(folder / "table").to_pylist()

    (row,) = [row for row in rows if row["id"] == 1 and str(row["t"]).startswith("2020")]
    assert row["count"] == pytest.approx(pixels.size)
    assert row["mean"] == pytest.approx(np.nanmean(pixels), rel=1e-6)
    assert len(pyogrio.read_dataframe(home / "parcels.gpkg")) == 25


@pytest.mark.slow
def test_second_demo_keeps_what_is_there(demo: tuple[Path, str]) -> None:
    home, _ = demo

    again = Shell(home)("demo", "--check", "--home", home)

    assert again.returncode == 0, again.stderr
    assert "0 items made, 140 kept" in again.stdout


def test_port_in_use_is_told_before_the_work(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = Shell(tmp_path)("demo", "--home", tmp_path / "demo", "--port", port)

    assert done.returncode == 2
    assert "--port" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_parcels_are_valid_and_some_are_awkward() -> None:
    grid = Grid.of("EPSG:3035", 5e6, 2e6, 10.0, 100, 100)
    left, bottom, right, top = grid.bounds

    made = parcels(grid)

    assert len(made) == 25
    assert all(parcel.is_valid and parcel.area > 0 for parcel in made)
    assert len(made[WITH_HOLE - 1].interiors) == 1
    assert any(parcel.bounds[2] > right for parcel in made)
    assert made[0].bounds[0] == left + 30
    assert made[0].bounds[3] == top - 40
    assert bottom < made[0].bounds[1]
