"""What became of the parts that a task made which helps with a run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from terrazzo.errors import RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.errors import TerrazzoError
    from terrazzo.progress import Progress


class Part(Protocol):
    """A block, a tile or a scene that is done."""

    @property
    def error(self) -> str:
        """Why it could not be made; empty as a rule."""

    @property
    def reason(self) -> TerrazzoError | None:
        """The same, where it is an error of ours."""


def counted(
    parts: Generator[tuple[str, Part]], unit: str, where: Depot | Path, progress: Progress
) -> int:
    """Return how many parts were made, once all are done.

    Args:
        parts: with what they are called, as they are made or set aside.
        unit: what they are, in the plural.
        where: the reasons of those that were set aside can be read.
        progress: told about each of these.

    Raises:
        RunIncomplete: parts failed.
    """
    made = failed = 0
    with closing(parts) as each:  # what makes them ends at once, also where `progress` raises
        for name, part in each:
            if part.error:
                failed += 1
                progress.fail(name, part.error, part.reason)
            else:
                made += 1
    if failed:
        raise RunIncomplete(
            f"{failed} {unit} failed and were set aside; {made} were made. The reasons are in "
            f"{where}. When they are mended, give the command that began this once more."
        )
    return made
