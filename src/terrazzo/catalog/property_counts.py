"""What the items of a collection say in one property, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from terrazzo.catalog.counted import Counted, Range

if TYPE_CHECKING:
    from collections.abc import Sequence

_VALUES, _VALUES_KEPT = 30, 64
_LONGEST = 200
"""Characters of a text that is listed."""
_NUMBERS: Final = frozenset({int, float})


@dataclass(slots=True)
class Property:
    """What the items say in one property."""

    strings: int = 0
    """Items that hold a text."""
    others: dict[str, int] = field(default_factory=dict)
    """Items that hold something else than a text or a number: `boolean`, `array`, `object`."""
    numbers: Range = field(default_factory=Range)
    texts: Counted[str] = field(default_factory=lambda: Counted(_VALUES, _VALUES_KEPT))
    """Texts, also those in lists of texts."""
    long: int = 0
    """Texts that are too long to be listed."""

    def _add(self, value: object) -> None:
        if _is_number(value):
            self.numbers.add(value, value)  # type: ignore[arg-type] # it is one
        elif isinstance(value, str):
            self.strings += 1
            self._add_text(value)
        else:
            name, texts = _parts(value)
            self.others[name] = self.others.get(name, 0) + 1
            for text in texts:
                self._add_text(text)

    def _add_text(self, text: str, count: int = 1) -> None:
        if len(text) <= _LONGEST:
            self.texts.add(text, count)
        else:
            self.long += count

    def add_all(self, values: Sequence[object]) -> None:
        """Count many values, by their kind: a tenth of the work of one after the other."""
        kinds = set(map(type, values))
        if kinds == {str}:
            self.strings += len(values)
            for text, count in Counter(cast("Sequence[str]", values)).items():
                self._add_text(text, count)
        elif kinds <= _NUMBERS:
            numbers = cast("Sequence[float]", values)
            self.numbers.add_all(numbers, numbers)
        else:
            for value in values:
                self._add(value)

    def remove(self, value: object) -> None:
        """Take a value back.

        Raises:
            Lost: what is left is unknown.
        """
        if _is_number(value):
            self.numbers.remove(value, value)  # type: ignore[arg-type] # it is one
        elif isinstance(value, str):
            self.strings -= 1
            self._remove_text(value)
        else:
            name, texts = _parts(value)
            count = self.others.pop(name, 0)
            if count > 1:
                self.others[name] = count - 1
            for text in texts:
                self._remove_text(text)

    def _remove_text(self, text: str) -> None:
        if len(text) <= _LONGEST:
            self.texts.remove(text)
        else:
            self.long -= 1

    def merge(self, other: Property) -> None:
        """Add the counts of another one."""
        for kind, count in other.others.items():
            self.others[kind] = self.others.get(kind, 0) + count
        self.strings += other.strings
        self.numbers.merge(other.numbers)
        self.texts.merge(other.texts)
        self.long += other.long

    @property
    def types(self) -> tuple[str, ...]:
        """JSON types that there are, in order."""
        numbers = ("number",) if self.numbers.count else ()
        texts = ("string",) if self.strings else ()
        return tuple(sorted((*self.others, *numbers, *texts)))

    @property
    def summary(self) -> Any:
        """A range of numbers or a short list of texts; None if there is neither."""
        if self.numbers.count:
            return {"minimum": self.numbers.low, "maximum": self.numbers.high}
        return (self.texts.listed() or None) if not self.long else None

    def to_json(self) -> list[Any]:
        """Return what `read` reads."""
        numbers, texts = self.numbers.to_json(), self.texts.to_json()
        return [self.strings, self.others, numbers, texts, self.long]

    def read(self, told: list[Any]) -> None:
        """Take over what `to_json` returned."""
        self.strings, self.others, numbers, texts, self.long = told
        self.numbers.read(numbers)
        self.texts.read(texts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parts(value: object) -> tuple[str, Sequence[str]]:
    """Return the JSON type of a value, and its texts if it is a list of such."""
    if isinstance(value, bool):
        return "boolean", ()
    if isinstance(value, (list, tuple)):
        return "array", value if all(isinstance(one, str) for one in value) else ()
    return "object", ()
