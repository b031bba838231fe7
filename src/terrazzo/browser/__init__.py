"""What browsers are sent: the built files of `web/`, and nothing else.

They are made when Terrazzo is installed (`hatch_build.py`) and are part of the wheel, so that a
notebook or a server loads nothing from anywhere else.
"""

from pathlib import Path
from typing import Final

from terrazzo.errors import TerrazzoError

FOLDER: Final = Path(__file__).with_name("built")
"""Where the built files lie."""


class BundleMissing(TerrazzoError):
    """A file that browsers are sent is not there: Terrazzo was not built, only copied."""

    code, status = "BundleMissing", 500

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not among the files that browsers are sent. They are made when Terrazzo "
            "is installed: `pip install .` in the source tree, or `make web` where it is installed "
            "from there already."
        )


def file(name: str) -> Path:
    """Return the path of one built file.

    Args:
        name: for example `widget.js`, `explorer.js`, `pages.js`, `core.css` or `land.json`.

    Returns:
        A file that exists.

    Raises:
        BundleMissing: it was not built, or there is no file of that name.
    """
    path = FOLDER / name
    if path.parent != FOLDER or not path.is_file():
        raise BundleMissing(name)
    return path


__all__ = ["FOLDER", "BundleMissing", "file"]
