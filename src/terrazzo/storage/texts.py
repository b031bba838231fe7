"""Many texts in one piece of memory: ids of a million images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, overload

import numpy as np
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class Texts(Sequence[str]):
    """Texts that are made when they are asked for; takes their bytes and 8 for each."""

    __slots__ = ("data", "edges")

    def __init__(self, texts: Iterable[str]) -> None:
        data, edges = bytearray(), [0]
        for text in texts:
            data += text.encode("utf-8", "surrogatepass")
            edges.append(len(data))
        self.data = bytes(data)
        self.edges: NDArray[np.int64] = np.array(edges, np.int64)

    @classmethod
    def of(cls, data: bytes, edges: NDArray[np.int64]) -> Texts:
        """Take over texts in UTF-8, each from one edge to the next."""
        made = cls(())
        made.data, made.edges = data, edges
        return made

    @override
    def __len__(self) -> int:
        return len(self.edges) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    @override
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no text {index} of {len(self)}.")
        at = index % len(self)
        return self._text(int(self.edges[at]), int(self.edges[at + 1]))

    @override
    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            edges = self.edges[start : start + _AT_ONCE + 1].tolist()
            for first, last in pairwise(edges):
                yield self._text(first, last)

    def _text(self, first: int, last: int) -> str:
        return self.data[first:last].decode("utf-8", "surrogatepass")


_AT_ONCE = 4096
