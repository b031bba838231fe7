"""In which sandbox the code of users runs: what whoever opens the sources says."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from terrazzo.sandbox import Mode, Sandbox, sandbox_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.processes import Process


@runtime_checkable
class ChoosesUdfs(Protocol):
    """An opener that says whether code of users is run, and how; others have it sandboxed."""

    udf: Mode


_SANDBOX: ContextVar[Sandbox | None] = ContextVar("sandbox", default=None)


@contextmanager
def running_in(opener: object) -> Iterator[None]:
    """Have code of users in what is bound and compiled inside run as the opener says."""
    mode = opener.udf if isinstance(opener, ChoosesUdfs) else Mode.SANDBOXED
    token = _SANDBOX.set(sandbox_of(mode))
    try:
        yield
    finally:
        _SANDBOX.reset(token)


@contextmanager
def guessing() -> Iterator[None]:
    """Have code of users tell what it returns, and compute nothing: pixels are not known yet."""
    sandbox = _SANDBOX.get() or sandbox_of(Mode.SANDBOXED)
    token = _SANDBOX.set(sandbox.looking())
    try:
        yield
    finally:
        _SANDBOX.reset(token)


def sandbox_for(process: Process) -> Mapping[str, Sandbox]:
    """Return the sandbox by the name of the parameter that takes it, for processes with one."""
    if not process.sandbox:
        return {}
    return {process.sandbox: _SANDBOX.get() or sandbox_of(Mode.SANDBOXED)}
