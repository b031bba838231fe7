"""Images as they are read: those that were wanted last are kept, others are looked up."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from terrazzo.storage.scenes import completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from terrazzo.storage.raster import RasterReader
    from terrazzo.storage.scenes import SceneItem
    from terrazzo.storage.texts import Texts

KEPT = 16_384
"""Images that are kept of a source; about 50 MB."""


class LookUp(Protocol):
    """Finds images again, for instance in a catalogue; can be pickled."""

    def __call__(self, ids: Sequence[str]) -> Iterable[SceneItem]:
        """Return the images with these ids, in any order; none of those that are gone."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Finds images again, with the facts of their files."""

    look_up: LookUp
    """Finds what items say."""
    names: tuple[str, ...]
    """The bands that count."""
    reader: RasterReader
    """Asks files for the rest."""

    def __call__(self, ids: Sequence[str]) -> Iterator[SceneItem]:
        """Return the images with these ids."""
        return (completed(item, self.names, self.reader) for item in self.look_up(ids))


class Shelf:
    """Images by their place in reading order; for many threads.

    Without a `look_up` all are kept.
    """

    def __init__(self, kept: Mapping[int, SceneItem], look_up: LookUp | None, most: int) -> None:
        """Keep images.

        Args:
            kept: images that are known already; all, unless there is a `look_up`.
            look_up: finds the others, by their ids.
            most: how many are kept; more where one call wants more.
        """
        self._kept = OrderedDict(kept)
        self._look_up, self._most = look_up, most
        self._lock = threading.Lock()

    @override
    def __reduce__(self) -> tuple[type[Shelf], tuple[Any, ...]]:
        """Pickle what cannot be looked up again."""
        kept = {} if self._look_up is not None else dict(self._kept)
        return Shelf, (kept, self._look_up, self._most)

    def take(self, places: Sequence[int], ids: Texts) -> list[SceneItem | None]:
        """Return images; None for those that are gone.

        Args:
            places: their places.
            ids: of all images, by place.
        """
        if self._look_up is None:
            return [self._kept[place] for place in places]
        with self._lock:
            found: dict[int, SceneItem | None] = {at: self._kept.get(at) for at in places}
            missing = {}
            for at, item in found.items():
                if item is None:
                    missing[ids[at]] = at
                else:
                    self._kept.move_to_end(at)
        if missing:
            fresh = {missing[item.id]: item for item in self._look_up(tuple(missing))}
            found.update(fresh)
            with self._lock:
                self._kept.update(fresh)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return [found[at] for at in places]
