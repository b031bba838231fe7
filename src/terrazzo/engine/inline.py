"""Processes inside of callbacks that get cubes: what they are given there is all that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Cube, empty_cube
from terrazzo.geo.grid import Window
from terrazzo.processes.registry import Place, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.processes import Process

NOWHERE = Window(0, 0, 0, 0)
ANY_MEMORY = 1 << 60
"""Bytes that a stage may hold: no more than its cube, which is in memory already."""


def called(process: Process, arguments: Mapping[str, Any]) -> Any:
    """Call a process with arguments as its function takes them; cubes are whole.

    Its place is where its cubes lie, and what it refuses before a pixel is looked at it refuses
    here too. A stage looks at all pixels at once.
    """
    if process.role is Role.SCALAR:
        return process.function(**arguments)
    given = dict(arguments)
    cubes = {name: value for name, value in given.items() if isinstance(value, Cube)}
    rasters = {name: cube for name, cube in cubes.items() if cube.window is not None}
    first = next(iter(rasters.values()), None)
    window = NOWHERE if first is None or first.window is None else first.window
    place = Place(
        window,
        window,
        {name: cube.window for name, cube in rasters.items() if cube.window is not None},
        None if first is None else first.grid,
    )
    if process.place:
        given[process.place] = place
        if process.role is Role.CUBE and not window.is_empty:
            nowhere = Window(window.row, window.col, 0, 0)
            nothing = {name: cube.crop(nowhere) for name, cube in rasters.items()}
            told = {process.place: replace(place, wanted=nowhere)}
            process.function(**{**given, **nothing, **told})
    result = process.function(**given)
    if process.role is not Role.STAGE or process.stage is None or first is None or window.is_empty:
        return result
    probe = empty_cube(first.dimensions, first.dtype, first.grid, NOWHERE)
    work = process.stage(probe, window, result, arguments)
    for walk in work.passes(ANY_MEMORY):
        chosen = first
        for name, positions in walk.labels.items():
            chosen = chosen.take(name, positions)
        for number, part in enumerate(walk.windows(max(window.height, window.width))):
            walk.add(number, walk.part(number, chosen.crop(part)))
    found = work.finish()
    if isinstance(result, Cube) and result.grid is None:
        return replace(result, values=found["values"], valid=found["valid"])
    if process.place:
        given[process.place] = replace(place, found=found)
    return process.function(**given)
