"""An extraction as notebooks show it: what there is, its first rows, and where the polygons are."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_SHAPES: Final = 300
"""Polygons that are drawn at most, spread over all row groups."""
_LETTERS: Final = 60
"""Of a cell of the table."""
_WIDE: Final = 260
"""Pixels of the map."""
_STYLE: Final = "border-collapse:collapse;font-size:90%;margin:.3em 1em .3em 0"
_CELL: Final = "text-align:left;padding:.15em .7em;border-bottom:1px solid #8884"


def as_html(facts: Iterable[tuple[str, str]], head: pa.Table, polygons: Path) -> str:
    """Return a summary: HTML that needs nothing else.

    Args:
        facts: what is said of the extraction, with its name.
        head: first rows of its table.
        polygons: their file.
    """
    told = "".join(
        f'<tr><th style="{_CELL}">{escape(name)}</th><td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in facts
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:flex-start">'
        f'<table style="{_STYLE}">{told}</table>{_map(polygons)}</div>{_first(head)}'
    )


def _first(rows: pa.Table) -> str:
    """Return the first rows of the table."""
    names = [name for name in rows.column_names if name != "date"]
    titles = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in names)
    lines = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL}">{escape(_text(row[name]))}</td>' for name in names)
        + "</tr>"
        for row in rows.to_pylist(maps_as_pydicts="strict")
    )
    return f'<table style="{_STYLE}"><tr>{titles}</tr>{lines}</table>'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, dict):
        value = [f"{key}: {_text(one)}" for key, one in value.items()]
    if isinstance(value, list):
        value = ", ".join(map(_text, value))
    text = "" if value is None else str(value)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}\N{HORIZONTAL ELLIPSIS}"


def _map(polygons: Path) -> str:
    """Return the outlines of some polygons as SVG; nothing where there is no place."""
    with pq.ParquetFile(polygons) as file:
        groups = np.unique(np.linspace(0, file.num_row_groups - 1, 4).astype(int)).tolist()
        wkb = file.read_row_groups(groups, columns=["geometry"])["geometry"]
    chosen = np.unique(np.linspace(0, len(wkb) - 1, min(_SHAPES, len(wkb))).astype(int))
    shapes = shapely.from_wkb(wkb.take(pa.array(chosen)).to_pylist())
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if not len(shapes):
        return ""
    left, bottom, right, top = shapely.total_bounds(shapes).tolist()
    span = max(right - left, top - bottom) or 1.0
    scale = (_WIDE - 8) / span
    placed = shapely.transform(shapes, lambda at: (at - (left, top)) * (scale, -scale) + 4)
    height = round((top - bottom) * scale + 8)
    drawn = "".join(_path(shapely.get_parts(shapely.simplify(one, 0.3))) for one in placed)
    return (
        f'<svg width="{round((right - left) * scale + 8)}" height="{height}" '
        'style="margin:.3em;border:1px solid #8884" role="img" aria-label="outlines">'
        f'<g fill="#1f6f5433" stroke="#1f6f54" stroke-width="1">{drawn}</g></svg>'
    )


def _path(parts: Sequence[Any]) -> str:
    """Return the parts of a geometry as SVG."""
    steps = []
    for part in parts:
        points = shapely.get_coordinates(part)
        if len(points) == 1:
            x, y = points[0]
            steps.append(f"M{x - 1.5:.1f},{y:.1f}h3M{x:.1f},{y - 1.5:.1f}v3")
            continue
        for ring in shapely.get_rings(part) if part.geom_type == "Polygon" else [part]:
            line = "L".join(f"{x:.1f},{y:.1f}" for x, y in shapely.get_coordinates(ring))
            steps.append(f"M{line}")
    return f'<path fill-rule="evenodd" d="{"".join(steps)}"/>'
