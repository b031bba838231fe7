"""An item as a catalogue keeps it: text that is read only where somebody asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item that was found."""

    text: bytes
    """Its document, JSON in UTF-8."""

    def document(self) -> dict[str, Any]:
        """Return its document."""
        found: dict[str, Any] = json.loads(self.text)
        return found
