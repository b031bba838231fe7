"""After kernels were made ready, what users do compiles nothing more."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from terrazzo.drivers.ready import make_ready
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = """
import gc, json, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from tests.server.small import graph, make_home
from terrazzo.drivers.job import Job
from terrazzo.drivers.ready import make_ready
from terrazzo.drivers.tile import MERCATOR, NATIVE, TileLayer, View
from terrazzo.storage.writers.picture import Style

def versions():
    kernels = (k for k in gc.get_objects() if isinstance(k, Dispatcher))
    return {f"{k.py_func.__module__}.{k.__name__}": len(k.signatures) for k in kernels}

make_ready(extraction=False)
before = versions()
layer = TileLayer(Job.of(graph()).infer(make_home(Path(sys.argv[1]))))
for matrix in (MERCATOR, NATIVE):
    for zoom in layer.zooms(matrix):
        levels, plan = layer.matrix(matrix), layer.plan(matrix, zoom)
        columns, rows = levels.covering(plan.grid, plan.window, zoom)
        view = View(Style(((0.0, 1.0),)))
        layer.picture(matrix, zoom, columns[0], rows[0], view=view, format_name="png")
print(json.dumps([before, versions()]))
"""


def test_tiles_compile_nothing_once_kernels_are_ready(tmp_path: Path) -> None:
    told = subprocess.check_output([sys.executable, "-c", COUNTED, str(tmp_path)], text=True)

    before, after = json.loads(told)

    assert before["terrazzo.storage.writers.picture_kernels.paeth"] == 1
    assert after == before


class Impatient(Progress):
    """Stops after the first graph."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        raise Cancelled


def test_it_can_be_stopped() -> None:
    progress = Impatient()

    with pytest.raises(Cancelled):
        make_ready(progress)

    assert progress.done == 1
    assert progress.total > 10


@pytest.mark.slow
def test_polygons_are_made_ready_too() -> None:
    progress = Progress()

    make_ready(progress)

    assert progress.done == progress.total
