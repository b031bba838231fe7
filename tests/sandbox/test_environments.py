"""In which Python code runs, what it may import there, and that users share no worker."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from terrazzo.errors import InvalidVersion, UdfInvalid, UdfRefused
from terrazzo.sandbox import Axis, Block, Limits, Sandbox, UdfRules, runtimes
from terrazzo.sandbox.environments import environment_of, look_at, own_environment
from terrazzo.sandbox.layers import this_machine
from terrazzo.sandbox.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

closable = pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing)
AXES = (Axis("bands", "bands", ("a", "b")), Axis("y", "spatial"), Axis("x", "spatial"))
VALUES = np.random.default_rng(5).random((2, 20, 30), np.float32)
ALL = (("all", sys.executable),)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(UdfRules(limits=Limits(workers=2), environments=ALL))
    yield made
    made.close()


def header(*lines: str) -> str:
    return "\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///", ""])


def code(body: str, *lines: str) -> str:
    inner = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{header(*lines)}def apply_datacube(cube, context):\n{inner}\n"


IMAGE = """
from skimage.filters import gaussian
from skimage.segmentation import slic
smooth = gaussian(np.nan_to_num(cube.values), sigma=1, channel_axis=0)
labels = slic(smooth[0], n_segments=6, channel_axis=None)
return cube.copy(data=smooth + labels)
"""
LEARN = """
from sklearn.ensemble import RandomForestClassifier
from sklearn.cluster import KMeans
pixels = np.nan_to_num(cube.values).reshape(2, -1).T
truth = pixels[:, 0] > pixels[:, 1]
forest = RandomForestClassifier(8, random_state=0).fit(pixels, truth)
groups = KMeans(2, n_init=1, random_state=0).fit_predict(pixels)
found = forest.predict(pixels) + 2 * (groups >= 0)
return cube.isel(bands=0, drop=True).copy(data=found.reshape(cube.shape[1:]).astype("f4"))
"""


@closable
@pytest.mark.slow
def test_images_are_filtered_by_scikit_image(sandbox: Sandbox) -> None:
    filters = pytest.importorskip("skimage.filters")
    segmentation = pytest.importorskip("skimage.segmentation")

    made = sandbox.run(code(IMAGE, 'dependencies = ["scikit-image"]'), Block(VALUES, AXES), {})

    smooth = filters.gaussian(VALUES, sigma=1, channel_axis=0)
    labels = segmentation.slic(smooth[0], n_segments=6, channel_axis=None)
    np.testing.assert_allclose(made.values, smooth + labels, rtol=1e-6)


@closable
@pytest.mark.slow
def test_pixels_are_classified_by_scikit_learn(sandbox: Sandbox) -> None:
    pytest.importorskip("sklearn")

    made = sandbox.run(code(LEARN, 'dependencies = ["scikit-learn"]'), Block(VALUES, AXES), {})

    truth = VALUES[0] > VALUES[1]
    assert (made.values == truth + 2).mean() > 0.95  # it is fitted on what it predicts


@closable
def test_code_may_ask_for_an_environment_in_its_header(sandbox: Sandbox) -> None:
    body = "import click, sys\nassert click.__version__\nreturn cube + 1"
    asked = code(body, 'dependencies = ["click"]', "[tool.terrazzo]", 'environment = "all"')

    made = sandbox.run(asked, Block(VALUES, AXES), {})

    np.testing.assert_array_equal(made.values, VALUES + 1)


@closable
def test_version_of_the_runtime_may_name_an_environment(sandbox: Sandbox) -> None:
    plain = code("return cube + 2")

    for version in ("all", own_environment().version[:4], None):
        made = sandbox.run(plain, Block(VALUES, AXES), {}, version)

        np.testing.assert_array_equal(made.values, VALUES + 2)

    workers = {worker.key.environment for worker in sandbox._pool._idle}
    assert workers >= {"", "all"}


@pytest.mark.parametrize(
    ("lines", "version", "error", "words"),
    [
        (["[tool.terrazzo]", 'environment = "al"'], None, UdfInvalid, "Did you mean 'all'"),
        (["[tool.terrazzo]", "environment = 5"], None, UdfInvalid, "is a text"),
        (["[tool.terrazzo]", 'enviroment = "all"'], None, UdfInvalid, "Did you mean 'environment'"),
        (["tool = 5"], None, UdfInvalid, "`tool` in the header of the UDF is a table"),
        (["[tool.terrazzo]", 'environment = "all"'], "2.7", InvalidVersion, "no version '2.7' in"),
        ([], "other", InvalidVersion, "no version 'other'. Versions here: 3.*, all"),
        (["[tool.terrazzo]", 'environment = "all"'], "more", UdfInvalid, "'all', and `version`"),
        (['dependencies = ["click"]'], None, UdfInvalid, "'click', which is not here"),
    ],
)
def test_what_is_not_there_is_refused_before_the_run(
    lines: list[str], version: str | None, error: type[Exception], words: str
) -> None:
    rules = UdfRules(environments=(*ALL, ("more", sys.executable)))

    with pytest.raises(error, match=words):
        Sandbox(rules).environment(code("return cube", *lines), version)


def test_environments_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\necho \'{"version": "3.8.1", "missing": []}\'\n')
    old.chmod(0o755)

    for python, words in (
        (str(empty / "bin" / "python"), "it lacks numpy pandas typing_extensions xarray. Run `"),
        (str(old), r"it is Python 3\.8\.1; 3\.11 or later is needed"),
        ("/bin/true", "Name a Python"),
        ("/bin/false", "Name a Python"),
        (str(tmp_path / "nothing"), "No such file"),
    ):
        with pytest.raises(UdfRefused, match=words):
            look_at("bad", python)


def test_runtimes_list_environments_with_their_packages() -> None:
    told = runtimes((*ALL, ("broken", "/bin/false")))["Python"]

    assert list(told["versions"]) == [told["default"], "all"]
    assert "click" in told["versions"]["all"]["libraries"]
    assert "click" not in told["versions"][told["default"]]["libraries"]
    assert environment_of("", "all", ALL).name == "all"


POISON = """
import numpy as np

def apply_datacube(cube, context):
    np.add = context.get("poison") and (lambda a, b: a * 0) or np.add
    return cube.copy(data=np.add(cube.values, 1))
"""


@closable
def test_users_with_the_same_code_share_no_worker() -> None:
    pool = Pool(Limits(workers=2), sealed=True)
    first, second = (Sandbox(UdfRules(), owner, pool) for owner in ("ann", "ben"))

    spoilt = [first.run(POISON, Block(VALUES, AXES), {"poison": True}).values for _ in "12"]
    clean = second.run(POISON, Block(VALUES, AXES), {}).values

    assert (spoilt[1] == 0).all()
    np.testing.assert_array_equal(clean, VALUES + 1)
    assert {worker.key.owner for worker in pool._idle} == {"ann", "ben"}
    pool.close()


@closable
def test_workers_of_many_users_are_kept_side_by_side() -> None:
    pool = Pool(Limits(workers=1, kept=3), sealed=True)
    users = [Sandbox(UdfRules(), name, pool) for name in "abcd"]

    for user in (*users, *users[1:]):
        user.run(code("return cube"), Block(VALUES, AXES), {})

    kept = [(worker.key.owner, worker.calls) for worker in pool._idle]
    assert kept == [("b", 3), ("c", 3), ("d", 3)]  # a probe and two blocks
    pool.close()


@closable
def test_environment_that_ends_at_once_is_told_without_paths(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    told = '{"version": "3.12.0", "missing": [], "packages": {}, "path": [], "readable": []}'
    fake.write_text(f"#!/bin/sh\n[ $2 = -B ] && echo '{told}'\nexit $(($? * 3))\n")
    fake.chmod(0o755)
    sandbox = Sandbox(UdfRules(environments=(("fake", str(fake)),)))

    with pytest.raises(UdfRefused, match="cannot start; `terrazzo doctor` says why") as caught:
        sandbox.run(code("return cube"), Block(VALUES, AXES), {}, "fake")

    assert str(tmp_path) not in str(caught.value)
    assert "it ended" in str(caught.value.__cause__)
    sandbox.close()
