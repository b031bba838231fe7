"""Where log lines go and what they look like: JSON, or readable on a terminal; never secrets."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

FORMS = ("auto", "json", "text")
HIDDEN = "[hidden]"
LONGEST = 20_000
"""Letters of a value in a line; of a longer one the middle is left out."""

# Whoever writes what is logged chooses its letters: nothing here may look further back or ahead
# again for each of them, as a name of any length before `token` would.
_SECRET = re.compile(
    r"""(?ix)
    (\b(?:bearer|basic)\s+)[^\s"',;]+                                  # Authorization
    | (\b(?:oidc/[^/\s"']{1,100}|basic)/+)[^\s"',;]+                   # tokens as openEO has them
    | ((?:signature|token|secret|password|passwd|api_?key)["']?\s*[=:]\s*["']?)[^\s"'&,;]+
    | (://[^\s/:@"']*:)[^\s/@"']+(?=@)                                 # passwords in addresses
    """
)


def set_up_log(form: str = "auto", stream: TextIO | None = None) -> None:
    """Send all log lines of this process to a stream, one line each.

    Args:
        form: `json`, `text`, or `auto`, which is text on a terminal.
        stream: where to; stderr unless told.
    """
    out = stream or sys.stderr
    plain = form == "text" or (form == "auto" and out.isatty())
    shape: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(),
            pad_event_to=8,
            exception_formatter=structlog.dev.plain_traceback,  # it is a text by then
        )
        if plain
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide,  # last, so that tracebacks go through it, too
                shape,
            ],
            foreign_pre_chain=_added(),
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("terrazzo").setLevel(logging.INFO)
    logging.getLogger("rasterio").setLevel(logging.ERROR)  # each odd file is told by the catalogue
    logging.captureWarnings(capture=True)


def logger(name: str) -> Any:
    """Return a logger whose lines have fields; without `set_up_log` they are silent."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        [structlog.stdlib.filter_by_level, *_added(), ProcessorFormatter.wrap_for_formatter],
        structlog.stdlib.BoundLogger,
    )


def hide(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take out what looks like a password, token, key or signature."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = hidden(_shortened(value))
    return event


def _shortened(text: str) -> str:
    """Return a text without its middle if it is long: graphs log what their users want."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} [{len(text) - 2 * half} letters left out] {text[-half:]}"


def hidden(text: str) -> str:
    """Return a text without what looks like a password, token, key or signature."""
    return _SECRET.sub(lambda found: (found[found.lastindex or 0]) + HIDDEN, text)


def _added() -> list[Processor]:
    """Return what gives every line its level, time, origin, and the id of its request."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
