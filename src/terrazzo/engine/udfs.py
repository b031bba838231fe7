"""In which sandbox the code of users runs: what whoever opens the sources says."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from terrazzo.sandbox import Sandbox, UdfRules, sandbox_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.processes import Process


@runtime_checkable
class ChoosesUdfs(Protocol):
    """An opener that says how code of users is run; others have it sandboxed."""

    udf: UdfRules


@runtime_checkable
class HasOwner(Protocol):
    """An opener that says for whom it opens."""

    owner: str


_SANDBOX: ContextVar[Sandbox | None] = ContextVar("sandbox", default=None)


@contextmanager
def running_in(opener: object) -> Iterator[None]:
    """Have code of users in what is bound and compiled inside run as the opener says."""
    rules = opener.udf if isinstance(opener, ChoosesUdfs) else UdfRules()
    owner = opener.owner if isinstance(opener, HasOwner) else ""
    token = _SANDBOX.set(sandbox_of(rules, owner))
    try:
        yield
    finally:
        _SANDBOX.reset(token)


@contextmanager
def guessing() -> Iterator[None]:
    """Have code of users tell what it returns, and compute nothing: pixels are not known yet."""
    token = _SANDBOX.set((_SANDBOX.get() or sandbox_of()).looking())
    try:
        yield
    finally:
        _SANDBOX.reset(token)


def sandbox_for(process: Process) -> Mapping[str, Sandbox]:
    """Return the sandbox by the name of the parameter that takes it, for processes with one."""
    if not process.sandbox:
        return {}
    return {process.sandbox: _SANDBOX.get() or sandbox_of()}
