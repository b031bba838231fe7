"""Writes the words inside openEO's schemas: `python -m scripts.schema_words FOLDER`.

FOLDER has openEO's specifications of processes, one JSON file each, and below it `proposals`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.processes import PROCESSES, words

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = ("title", "description", "examples")
NAMED = ("properties", "parameters")
"""Below these keywords names are names, also where they are `title` or `description`."""


def found(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give the place and text of each word in a schema."""
    if isinstance(schema, list):
        for index, entry in enumerate(schema):
            yield from found(entry, (*path, str(index)))
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key in WORDS and path[-1:] not in [(n,) for n in NAMED]:
                yield "/".join((*path, key)), value
            else:
                yield from found(value, (*path, key))


def words_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the words of one process by parameter."""
    parts = {entry["name"]: entry["schema"] for entry in spec["parameters"]}
    parts["returns"] = spec["returns"]["schema"]
    told = {name: dict(found(schema)) for name, schema in parts.items()}
    return {name: texts for name, texts in told.items() if texts}


def main(folder: Path) -> None:
    """Write the file beside the module that reads it."""
    specs = [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]
    told = {spec["id"]: words_of(spec) for spec in specs if spec["id"] in PROCESSES}
    path = Path(words.__file__).with_name("words.json")
    kept = {name: parts for name, parts in told.items() if parts}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
