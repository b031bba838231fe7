"""What is in view, as files: numbers at native resolution, or a picture with its legend."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.notebook.map_layer import Opened
    from terrazzo.progress import Progress

_IMAGES = (".tif", ".tiff")


def save_cog(
    path: Path,
    opened: Opened,
    bounds: Sequence[float],
    time: str | None,
    *,
    all_dates: bool,
    progress: Progress,
) -> list[Path]:
    """Compute a layer at native resolution and save it as COGs, a file for each date.

    Args:
        path: of the file; the dates of several stand before its ending.
        opened: the layer.
        bounds: (west, south, east, north), degrees.
        time: date that is shown; None is the last one.
        all_dates: whether all dates are saved.
        progress: is told how far it is, and may stop it.

    Raises:
        OutputFailed: the folder cannot be written.
        TerrazzoError: it cannot be computed.
    """
    dates = opened.about["dates"]
    date = None if all_dates or not dates else time or dates[-1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".terrazzo-", dir=path.parent) as folder:
            kept = None if date is None else (str(opened.about["temporal"]), date)
            graph = cut(opened.graph, bounds, kept)
            made = opened.screen.save(graph, Path(folder), progress)
            images = [one for one in made if one.suffix in _IMAGES]
            targets = [
                path if len(images) == 1 else path.with_name(f"{path.stem}-{one.stem}{path.suffix}")
                for one in images
            ]
            for image, target in zip(images, targets, strict=True):
                shutil.move(image, target)
    except OSError as error:
        raise output_failed(path, error) from error
    return targets


def cut(
    graph: Mapping[str, Any],
    bounds: Sequence[float],
    label: tuple[str, str] | None,
    *,
    crs: str | int | None = None,
    format_name: str = "GTiff",
) -> dict[str, dict[str, Any]]:
    """Return a graph with its result cut to a place and a date, and saved.

    Args:
        graph: nodes by name.
        bounds: (west, south, east, north).
        label: the dimension of the dates, and the label of the one that is kept; None keeps all.
        crs: of `bounds`; degrees without.
        format_name: of the files.

    Raises:
        ArgumentInvalid: no node is the result.
    """
    nodes = {name: dict(node) for name, node in graph.items()}
    last = next((name for name, node in nodes.items() if node.pop("result", False)), None)
    if last is None:
        raise ArgumentInvalid("The graph of this layer has no node with `result`.")
    held: Mapping[str, Any] = {"from_node": last}
    if nodes[last]["process_id"] == "save_result":
        held = nodes.pop(last)["arguments"]["data"]
    west, south, east, north = bounds
    extent: Any = {"west": west, "south": south, "east": east, "north": north}
    if crs is not None:
        extent["crs"] = crs
    steps: list[tuple[str, dict[str, Any]]] = [("filter_bbox", {"extent": extent})]
    if label is not None:
        dimension, date = label
        same = {"x": {"from_parameter": "value"}, "y": date}
        condition = {"eq": {"process_id": "eq", "arguments": same, "result": True}}
        kept = {"condition": {"process_graph": condition}, "dimension": dimension}
        steps.append(("filter_labels", kept))
    steps.append(("save_result", {"format": format_name}))
    for process, arguments in steps:
        name = f"map_{process}"
        while name in nodes:
            name += "_"
        nodes[name] = {"process_id": process, "arguments": {"data": held, **arguments}}
        held = {"from_node": name}
    nodes[str(held["from_node"])]["result"] = True
    return nodes
