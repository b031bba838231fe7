"""Times as the ledger keeps them: RFC 3339 texts in UTC with microseconds, which sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    """Return this moment."""
    return after(0.0)


def after(seconds: float) -> str:
    """Return the moment that many seconds from now; negative is in the past."""
    return text_of(datetime.now(UTC) + timedelta(seconds=seconds))


def text_of(instant: datetime) -> str:
    """Return an aware instant as the ledger writes it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
