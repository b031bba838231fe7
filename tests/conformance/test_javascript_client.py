"""The official JavaScript client against the server: what `javascript/path.mjs` did and saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from tests.conformance.material import DAYS, SENTINEL, sentinel
from tests.conformance.suite import WEB, kept

if TYPE_CHECKING:
    from tests.conformance.conftest import Served

SCRIPTS = Path(__file__).parent / "javascript"
ROWS, COLUMNS = slice(90, 100), slice(100, 110)
"""Where the script's extent is in the images."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Seen:
    """What the script saw, and the files that it fetched."""

    told: dict[str, Any]
    folder: Path

    def __getitem__(self, name: str) -> Any:
        return self.told[name]


def packages() -> Path:
    """Return the folder with the client and its dependencies, as the lock has them."""
    lock = (SCRIPTS / "package-lock.json").read_text()
    version = json.loads(lock)["packages"]["node_modules/@openeo/js-client"]["version"]
    with kept(f"javascript-client-{version}") as (folder, complete):
        if not complete:
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPTS / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=folder, env=WEB, check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def seen(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(packages() / "node_modules")
    script = shutil.copy(SCRIPTS / "path.mjs", folder)
    done = subprocess.run(
        ["node", script, served.url, served.user, served.password, folder],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Seen(json.loads(done.stdout.splitlines()[-1]), folder)


def ndvi() -> np.ndarray:
    bands = sentinel(DAYS[0])
    red, nir = (bands[name][ROWS, COLUMNS].astype(np.float64) for name in ("B04", "B08"))
    return (nir - red) / (nir + red)


def test_finds_every_feature_that_it_asks_for(seen: Seen) -> None:
    assert seen["version"] == "1.2.0"
    assert seen["lacking"] == []


def test_logs_in_with_a_password(served: Served, seen: Seen) -> None:
    assert seen["refused"]["code"] == "AuthenticationRequired"
    assert seen["wrong"]["code"] in {"CredentialsInvalid", "AuthenticationRequired"}
    assert served.user in {seen["account"]["user_id"], seen["account"].get("name")}


def test_discovers_what_there_is(seen: Seen) -> None:
    assert SENTINEL in seen["collections"]
    assert set(seen["dimensions"]) == {"x", "y", "t", "bands"}
    assert {"GTIFF", "NETCDF", "JSON"} <= {name.upper() for name in seen["outputs"]}
    assert "Python" in seen["runtimes"]
    assert "XYZ" in {name.upper() for name in seen["services"]}


def test_graph_is_valid_by_openeos_own_validator_and_ours(seen: Seen) -> None:
    assert seen["parsed"] == []
    assert list(seen["validated"]) == []


def test_result_and_job_give_the_numbers(seen: Seen) -> None:
    (file,) = [name for name in seen["files"] if name.endswith((".tif", ".tiff"))]

    for name in (seen["result"], file):
        with rasterio.open(seen.folder / name) as image:
            np.testing.assert_allclose(image.read(1), ndvi(), rtol=1e-6)


def test_job_is_followed_to_its_end(seen: Seen) -> None:
    assert (seen["created"], seen["finished"]) == ("created", "finished")
    assert {"costs", "duration", "size"} & set(seen["estimate"])
    assert "info" in seen["logs"]
    assert True in seen["jobs"]


def test_service_process_and_file_come_and_go(served: Served, seen: Seen) -> None:
    assert seen["service"]["url"].startswith(served.url)
    assert "{z}/{x}/{y}" in seen["service"]["url"]
    assert seen["process"] == "plus_one"
    assert seen["uploaded"] == ["notes/given.txt"]
    assert seen["fetched"] == "from JavaScript"
    assert seen["left"] == 0
