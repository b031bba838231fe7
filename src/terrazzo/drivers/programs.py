"""Programs of others that pixels are computed with: results tell of them, runs do not mix them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.engine import Bound


def programs_of(nodes: Iterable[Bound]) -> dict[str, str]:
    """Return the versions of programs that nodes of a graph are computed with here, by name."""
    return {
        name: version
        for bound in nodes
        for name, version in sorted(bound.process.rules.programs().items())
    }
