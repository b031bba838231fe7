"""`python -m bench`: measure Terrazzo beside its peers and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import (
    callbacks,
    composite,
    cores,
    imports,
    ingest,
    notebook,
    overhead,
    parcels,
    pixels,
    planning,
    plots,
    real,
    scaling,
    screen,
    served,
    tile,
    udf,
)
from bench.data import FOLDER, STRIP, dataset
from bench.operations import OPERATIONS
from bench.options import Options
from bench.report import Picture, page, ratios
from bench.stac import suite as catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report import Section

BENCHMARKS = {
    "tile": tile.run,
    "http": served.run,
    "composite": composite.run,
    **OPERATIONS,
    "parcels": parcels.run,
    "real": real.run,
    "callbacks": callbacks.run,
    "udf": udf.run,
    "pixels": pixels.run,
    "planning": planning.run,
    "catalogue": catalogue.run,
    "ingest": ingest.run,
    "scaling": scaling.run,
    "cores": cores.run,
    "overhead": overhead.run,
    "notebook": notebook.run,
    "screen": screen.run,
    "import": imports.run,
}
PAGE, DRAFT = Path("docs/benchmarks.md"), Path("bench/data/benchmarks.md")
"""Where the report goes: a quick run, or one of a few benchmarks, does not replace a whole one."""
LARGE = 4096
"""Edge from which a scene counts as large."""
MISSED, DIFFERENT = 3, 4
"""Exit statuses: a target that depends on no machine was missed; results of contestants differ."""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--size",
        type=int,
        default=0,
        help="edge of the scene, pixels: 2048, with --quick 1024; Sentinel-2 has 10980",
    )
    parser.add_argument("--dates", type=int, default=0, help="dates: 10, with --quick 4")
    parser.add_argument("--window", type=int, default=4096, help="edge of the composite at most")
    parser.add_argument(
        "--runs", type=int, default=0, help="runs that count: 5, of a large scene 3, with --quick 1"
    )
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up data")
    parser.add_argument("--data", type=Path, default=FOLDER, help="where the data is kept")
    parser.add_argument("--out", type=Path, help=f"the report; {PAGE}, or {DRAFT} if incomplete")
    asked = parser.parse_args(argv)
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    asked.size = asked.size or (1024 if asked.quick else 2048)
    asked.dates = asked.dates or (4 if asked.quick else 10)
    asked.runs = asked.runs or (1 if asked.quick else 5 if asked.size < LARGE else 3)
    asked.out = asked.out or (DRAFT if asked.quick or asked.names else PAGE)
    if asked.size % 4 or asked.size < STRIP:
        parser.error(f"--size must be a multiple of 4 and at least {STRIP}")
    return asked


def say(text: str) -> None:
    """Tell how it goes, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _drawn(sections: Sequence[Section], images: Path) -> Picture | None:
    """Draw all comparisons with peers in one plot."""
    found = {_plain(name): 1 / ratio for name, ratio in ratios(sections).items()}
    if not found:
        return None
    labels = ("CPU time of the best peer / ours", "How many times less CPU time than the best peer")
    path = images / "bench-peers.svg"
    plots.ratios(path, found, labels)
    return Picture(f"{images.name}/{path.name}", "How many times less CPU time than the peers'")


def _plain(name: str) -> str:
    """Say what was compared without our name, which all of the bars share."""
    for ours in (", Terrazzo", ": Terrazzo", "`"):
        name = name.replace(ours, "")
    return name


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report; see the exit statuses above."""
    argv = sys.argv[1:] if argv is None else argv
    asked = arguments(argv)
    data = dataset(asked.size, asked.dates, seed=asked.seed, folder=asked.data, say=say)
    images = asked.out.parent / "images"
    options = Options(asked.runs, asked.quick, asked.window, say, images)
    sections = [BENCHMARKS[name](data, options) for name in asked.names or BENCHMARKS]
    shown = ["python -m bench", *asked.names, f"--size {asked.size} --dates {asked.dates}"]
    shown += [f"--window {asked.window}", f"--runs {asked.runs}", "--quick" * asked.quick]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(filter(None, shown))
    picture = None if asked.names else _drawn(sections, images)
    title = ", ".join(["Benchmarks", *asked.names])
    asked.out.write_text(page(sections, data, command, asked.runs, picture, title=title))
    say(f"wrote {asked.out}")
    for section in sections:
        for problem in section.problems:
            say(f"{section.name}: {problem}")
        for target in section.targets:
            found = f"{target.wanted}, measured {target.found}"
            say(f"{section.name}: {target.text}: {found}{'' if target.met else ', MISSED'}")
    if any(section.broken for section in sections):
        return MISSED
    return DIFFERENT if any(section.problems for section in sections) else 0


if __name__ == "__main__":
    sys.exit(main())
