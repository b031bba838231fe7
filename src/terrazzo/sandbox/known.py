"""What is known already, up to a number of things; safe for threads and forks."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Thing = TypeVar("Thing")


class Known(Generic[Thing]):
    """Things by their keys; what nobody has asked for the longest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.begin_anew()
        _ALL.add(self)

    def begin_anew(self) -> None:
        """Know nothing: the lock may be held by a thread that was not forked along."""
        self._things: OrderedDict[Any, Thing] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Thing | None:
        """Return what is known."""
        with self._lock:
            found = self._things.get(key)
            if found is not None:
                self._things.move_to_end(key)
            return found

    def put(self, key: Any, thing: Thing) -> None:
        """Know it from now on."""
        with self._lock:
            self._things[key] = thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)


_ALL: WeakSet[Known[Any]] = WeakSet()


def _begin_anew() -> None:
    for known in list(_ALL):
        known.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
