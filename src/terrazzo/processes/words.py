"""The words that openEO's own specifications have inside the schemas of parameters.

A client shows them, and a back-end is checked on them letter by letter. They are openEO's
(openeo-processes 2.0.0-rc.2, Apache-2.0), written to `words.json` by `scripts.schema_words`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_WORDS = Path(__file__).with_name("words.json")


def worded(process: str, part: str, schema: Any) -> Any:
    """Return a schema with openEO's words in it.

    Args:
        process: id of the process.
        part: name of the parameter, or `returns`.
        schema: a schema or a list of alternatives; stays as it is.
    """
    words = _all().get(process, {}).get(part)
    if not words:
        return schema
    told = json.loads(json.dumps(schema))  # no part of it is shared any more
    for path, text in words.items():
        *steps, last = path.split("/")
        place = told
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = text
    return told


@cache
def _all() -> dict[str, dict[str, dict[str, Any]]]:
    told: dict[str, dict[str, dict[str, Any]]] = json.loads(_WORDS.read_text(encoding="utf-8"))
    return told
