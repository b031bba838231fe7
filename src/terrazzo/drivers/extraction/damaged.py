"""Which file of an extraction is damaged, and the way out, where Arrow cannot read one."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from terrazzo.drivers.extraction.parts import TABLE
from terrazzo.drivers.extraction.polygons import FILE as POLYGONS
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LETTERS = 160
"""Of Arrow's own words."""


class _InFolder(Protocol):
    @property
    def folder(self) -> Path: ...


_Self = TypeVar("_Self", bound=_InFolder)
_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def names_damage(
    method: Callable[Concatenate[_Self, _Given], _Found],
) -> Callable[Concatenate[_Self, _Given], _Found]:
    """Have a method that reads an extraction raise `ArgumentInvalid` where a file is damaged."""

    @wraps(method)
    def called(self: _Self, /, *arguments: _Given.args, **options: _Given.kwargs) -> _Found:
        try:
            return method(self, *arguments, **options)
        except (OSError, pa.ArrowException) as error:
            told = damage(self.folder)
            if not told:
                raise
            raise ArgumentInvalid(told) from error

    return called


def damage(folder: Path) -> str:
    """Return which file is damaged, and what to do; empty where none is."""
    parts = sorted((folder / TABLE).rglob("[!._]*.parquet"))
    for look in (_header, _pages):  # every page of a large table takes minutes
        if why := _reason(folder / POLYGONS, look):
            return f"{folder / POLYGONS} is damaged ({why}). Delete the folder and extract again."
        for part in parts:
            if why := _reason(part, look):
                return f"{part} is damaged ({why}). Delete it and give the extraction again."
    return ""


def _reason(path: Path, look: Callable[[Any], None]) -> str:
    try:
        with pq.ParquetFile(path) as file:
            look(file)
    except (OSError, pa.ArrowException) as error:
        return " ".join(str(error).split())[:_LETTERS].rstrip(". ") or type(error).__name__
    return ""


def _header(file: Any) -> None:
    """Do nothing more: it is read as the file is opened."""
    del file


def _pages(file: Any) -> None:
    for _ in file.iter_batches():
        pass
