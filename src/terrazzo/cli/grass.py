"""The command that runs a module of GRASS over a collection, as `terrazzo run` runs a graph."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from terrazzo.cli.catalogue import interval
from terrazzo.cli.run import run
from terrazzo.errors import ArgumentInvalid

_TAKES = "input"
"""Parameter that names the collection where the module has none of its own."""


def graph_of(
    name: str,
    given: tuple[str, ...],
    flags: str,
    period: str,
    place: tuple[tuple[float, float, float, float] | None, str],
) -> dict[str, Any]:
    """Return the graph that runs a module over a collection.

    Args:
        name: of the module.
        given: `KEY=VALUE` as GRASS is given them: the collection by the parameter that names the
            raster, outputs by those that name them, and the rest.
        flags: of the module.
        period: of the dates, as `--datetime` of `terrazzo search` takes it; empty for all.
        place: the box (west, south, east, north) that a module sees that looks at everything, and
            its CRS.

    Raises:
        ArgumentInvalid: something of it is no such thing.
    """
    from terrazzo.grass import MODULES, call_of  # noqa: PLC0415 - loads NumPy

    if name not in MODULES:
        call_of(name, {})  # says which modules there are
    module = MODULES[name]
    takes, known = module.takes or _TAKES, {output.key for output in module.outputs}
    texts = _pairs(given)
    collection, colon, chosen = texts.pop(takes, "").partition(":")
    if not collection:
        raise ArgumentInvalid(
            f"{name} needs a collection: {takes}=COLLECTION, or {takes}=COLLECTION:BAND. List "
            "collections with `terrazzo search`."
        )
    bands = chosen.split(",") if colon else []
    if not all(bands):
        raise ArgumentInvalid(
            f"{takes}={collection}:{chosen} has a band without a name. Give {takes}="
            f"{collection}:BAND,BAND, or {takes}={collection} for all bands."
        )
    outputs = {key: texts.pop(key) for key in tuple(texts) if key in known}
    if outputs and module.keeps_bands:
        raise ArgumentInvalid(f"The bands that {name} makes keep their names: leave `output` out.")
    parameters = {
        key: _number(text) if key in module.options and module.options[key].kind != "word" else text
        for key, text in texts.items()
    }
    load: dict[str, Any] = {"id": collection, "spatial_extent": None, "temporal_extent": None}
    if bands:
        load["bands"] = bands
    if period:
        load["temporal_extent"] = interval(period)
    box, crs = place
    if box is not None and not module.is_local:
        west, south, east, north = box
        extent = {"west": west, "south": south, "east": east, "north": north}
        load["spatial_extent"] = {**extent, "crs": _code(crs)}
    call: dict[str, Any] = {"data": {"from_node": "load"}, "module": name, "flags": flags}
    call |= {"parameters": parameters, "outputs": list(outputs) or None}
    process = "run_grass" if module.is_local else "run_grass_whole"
    graph: dict[str, Any] = {
        "load": {"process_id": "load_collection", "arguments": load},
        "grass": {"process_id": process, "arguments": call},
    }
    renamed = {key: text for key, text in outputs.items() if key != text}
    if renamed:
        names: dict[str, Any] = {"data": {"from_node": "grass"}, "dimension": "bands"}
        names |= {"target": list(renamed.values()), "source": list(renamed)}
        graph["named"] = {"process_id": "rename_labels", "arguments": names}
    graph[next(reversed(graph))]["result"] = True
    return graph


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key or not value:
            raise ArgumentInvalid(
                f"{text!r} is no KEY=VALUE, as in elevation=dem or format=percent."
            )
        if key in texts:
            raise ArgumentInvalid(
                f"{key}= is given twice, as {texts[key]!r} and {value!r}. Leave one out."
            )
        texts[key] = value
    return texts


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the module says what it takes


def _code(crs: str) -> int | str:
    """Return a CRS as a graph has it."""
    number = crs.upper().removeprefix("EPSG:")
    return int(number) if number.isdigit() else crs


@click.pass_context
def _called(
    ctx: click.Context,
    /,
    module: str,
    given: tuple[str, ...],
    *,
    flags: str,
    datetime: str,
    print_graph: bool,
    **options: Any,
) -> None:
    """Run a module of GRASS over a collection, block by block.

    MODULE and its parameters are written as for GRASS; the raster is a collection, and one of its
    bands if it has several. Outputs that are named become bands. What a module looks at beyond a
    block is read with it; modules that must see all pixels (r.watershed ...) see all of the
    collection, or of --bbox, at once. All other options are those of `terrazzo run`, and so are
    results, exit status and what happens when it is stopped.

    \b
    Example:
      terrazzo grass r.slope.aspect elevation=dem slope=slope aspect=aspect -o slopes
      terrazzo grass r.neighbors input=dem:dem size=9 method=median --flags c -o smooth --workers 4
      terrazzo grass r.mapcalc input=s2 'expression=(B08 - B04) / (B08 + B04)' -o ndvi
      terrazzo grass r.watershed elevation=dem accumulation=flow --bbox -1.2,45.2,-0.9,45.5 -o flow
    """  # noqa: D301 - \b is click's mark, not an escape
    place = options["bbox"], options["bbox_crs"]
    text = json.dumps(graph_of(module, given, flags, datetime, place), indent=1)
    if print_graph:
        click.echo(text)
        return
    if not options["output"]:
        raise click.MissingParameter(param_hint="-o", param_type="option")
    with TemporaryDirectory(prefix="terrazzo-") as folder:
        path = Path(folder) / f"{module}.json"
        path.write_text(text, encoding="utf-8")
        ctx.invoke(run, graph=str(path), **options)


def _options_of_run() -> list[click.Parameter]:
    """Return the options of `terrazzo run`; without -o a graph can be printed."""
    found: list[click.Parameter] = []
    for parameter in run.params:
        if parameter.name == "output" and isinstance(parameter, click.Option):
            metavar, told = parameter.metavar, parameter.help
            found.append(click.Option(["-o", "--output"], metavar=metavar, help=told, default=""))
        elif parameter.name != "graph":
            found.append(parameter)
    return found


grass = click.Command(
    "grass",
    callback=_called,
    help=_called.__doc__,
    params=[
        click.Argument(["module"], metavar="MODULE"),
        click.Argument(["given"], nargs=-1, metavar="KEY=VALUE..."),
        click.Option(["--flags"], default="", help="Letters of the module's flags."),
        click.Option(
            ["--datetime"],
            default="",
            metavar="TIME|START/END",
            help="Only these dates: a year, month or day, or START/END, END excluded.",
        ),
        click.Option(
            ["--print-graph"], is_flag=True, help="Print the process graph, and run nothing."
        ),
        *_options_of_run(),
    ],
)
