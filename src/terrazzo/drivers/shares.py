"""Shares of a run: several workers, each begins with its own part and helps with the others'."""

from __future__ import annotations

from dataclasses import dataclass

from terrazzo.errors import ArgumentInvalid

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Share:
    """One of `of` equal parts of the blocks of a run."""

    index: int
    of: int

    @classmethod
    def parsed(cls, text: str) -> Share:
        """Read `3/200`, the fourth of 200: they are counted from 0.

        Raises:
            ArgumentInvalid: it is no share.
        """
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal()) or int(index) >= int(of):
            raise ArgumentInvalid(
                f"{text!r} is no share of a run. Give one like 0/200: which one, counted from 0, "
                "of how many."
            )
        return cls(int(index), int(of))

    @property
    def start(self) -> float:
        """Where it begins to help, 0..1; the starts of any few shares lie far apart."""
        return self.index * GOLDEN % 1

    def numbers(self, count: int) -> range:
        """Return its part of the order of work of `count` blocks, which lie beside each other."""
        return range(self.index * count // self.of, (self.index + 1) * count // self.of)
