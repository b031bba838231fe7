"""Terrazzo's UDFs: blocks in memory, and map tiles for several users at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.contestants.codes import BANDS, CODES, Blocks
from bench.contestants.tiles import EDGE, HIGHEST, LOWEST
from bench.dataset import Dataset
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import MERCATOR, TileLayer, View, shown
from terrazzo.sandbox import Axis, Block, Sandbox
from terrazzo.storage.writers.picture import Style, encode_picture

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], dict[str, np.ndarray]]

AXES = (Axis("bands", "bands", BANDS), Axis("y", "spatial"), Axis("x", "spatial"))
VIEW = View(Style(((LOWEST, HIGHEST),), "viridis"))
PLAIN, ONE, FOUR = "without code", "code of one user", "code of four users at once"
USERS = {PLAIN: 1, ONE: 1, FOUR: 4}
CODE = "img = (B08 - B04) / (B08 + B04 + {number} * 0)\n"


def blocks(parameters: dict[str, Any]) -> dict[str, Task]:
    """Compute blocks that lie in memory."""
    made, sandbox = Blocks.of(parameters), Sandbox()
    block = Block(made.values, AXES, made.valid)

    def task(code: str) -> dict[str, np.ndarray]:
        for _ in range(made.count):
            result = sandbox.run(code, block, {})
        return {"values": result.values}

    return {name: partial(task, code) for name, code in CODES.items()}


def tiles(parameters: dict[str, Any]) -> dict[str, Task]:
    """Draw the same tiles for one user and for four, each with code of their own."""
    data = Dataset.of(parameters)
    places = [tuple(place) for place in parameters["tiles"]]
    workspace = Workspace(data.home)

    def layer(number: int | None) -> TileLayer:
        if number is None:
            return TileLayer(Job.of(graphs.first_index(data)).infer(workspace), tile=EDGE)
        code = CODE.format(number=number)
        owned = replace(workspace, owner=f"user {number}")
        return TileLayer(Job.of(graphs.first_index(data, code)).infer(owned), tile=EDGE)

    layers = {None: layer(None), **{number: layer(number) for number in range(max(USERS.values()))}}

    def drawn(number: int | None) -> np.ndarray:
        pixels = []
        for x, y in places:
            cube = layers[number].cube(MERCATOR, parameters["zoom"], x, y)
            encode_picture(shown(cube, VIEW), VIEW.style, "png")
            pixels.append(np.where(cube.valid, cube.values, np.nan)[0])
        return np.stack(pixels)

    def task(name: str) -> dict[str, np.ndarray]:
        users = [None] if name == PLAIN else range(USERS[name])
        with ThreadPoolExecutor(USERS[name]) as pool:
            found = list(pool.map(drawn, users))
        if any(not np.array_equal(one, found[0], equal_nan=True) for one in found):
            raise ValueError("The users do not get the same pixels.")
        return {"values": found[0]}

    return {name: partial(task, name) for name in USERS}
