"""Cubes made from nothing."""

import numpy as np

from terrazzo.cube import Cube
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import AnyCube


@process("create_data_cube", Role.CUBE, categories=("cubes",))
def create_data_cube() -> AnyCube:
    """Make a cube without dimensions; add some with `add_dimension`.

    Returns:
        One cell without data. Merged with another cube it takes on that one's type.

    Source:
        openEO process `create_data_cube` 2.0.0-rc.2.
    """
    return Cube(np.zeros((), np.bool_), np.zeros((), np.bool_), ())
