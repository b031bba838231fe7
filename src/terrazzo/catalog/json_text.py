"""Documents as JSON text, exactly: what JSON lacks is refused, and no number changes."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

_STRICT: Final = (
    orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def json_text(value: Any) -> bytes:
    """Return a value as JSON in UTF-8 without blanks.

    Raises:
        TypeError, ValueError, RecursionError: it holds NaN, infinity, a lone surrogate, or what
            JSON lacks.
    """
    try:
        text = orjson.dumps(value, option=_STRICT)
    except orjson.JSONEncodeError:  # also integers beyond 64 bits, and keys that are numbers
        return _written(value).encode()
    # orjson writes NaN as null.
    if b"null" in text and orjson.loads(text) != value:
        _written(value)
    return text


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
