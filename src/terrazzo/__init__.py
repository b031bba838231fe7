"""Terrazzo, an open Earth-observation data platform.

One lazy processing graph gives the same answer on a map tile, over a million parcels and
across a continent. Importing the package loads none of the libraries below it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrazzo.client import connect
    from terrazzo.drivers.arrays import from_xarray
    from terrazzo.drivers.extraction.result import open_extraction
    from terrazzo.drivers.lazy import to_xarray
    from terrazzo.notebook import udf
    from terrazzo.notebook.map import Map

__version__ = "0.1.0"

_LATE = {
    "Map": "terrazzo.notebook.map",
    "connect": "terrazzo.client",
    "from_xarray": "terrazzo.drivers.arrays",
    "open_extraction": "terrazzo.drivers.extraction.result",
    "to_xarray": "terrazzo.drivers.lazy",
    "udf": "terrazzo.notebook",
}
"""What is loaded when somebody asks for it, and from where."""

__all__ = ["Map", "__version__", "connect", "from_xarray", "open_extraction", "to_xarray", "udf"]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
