"""Runs test vectors and prints the score: `python -m terrazzo.testing.vectors DIR`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.testing.vectors.files import VectorsUnreadable, read_vectors
from terrazzo.testing.vectors.score import Outcome, Report, Status, run_file

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the vectors that the command line names.

    Returns:
        Exit status: 0 if every vector passes that no erratum excuses, 1 if one does not, 2 if
        there are no vectors to run or a file of them cannot be read.
    """
    options = _parser().parse_args(arguments)
    try:
        files = read_vectors(options.folder, options.process or ())
    except VectorsUnreadable as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    outcomes: list[Outcome] = []
    for file in files:
        report = run_file(file)
        outcomes.extend(report.outcomes)
        sys.stdout.write(f"{_line(file.process, report)}\n")
        for outcome in report.outcomes:
            if _is_told(outcome, verbose=options.verbose):
                sys.stdout.write(f"    [{outcome.index}] {outcome.status}: {outcome.text}\n")
        sys.stdout.flush()
    whole = Report(tuple(outcomes))
    sys.stdout.write(f"{_totals(whole)}\n")
    if options.json is not None:
        options.json.write_text(json.dumps(whole.to_json(), indent=1) + "\n", "utf-8")
    return 1 if whole.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m terrazzo.testing.vectors",
        description="Run test vectors of openEO processes, strictly.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="Folder of NAME.json.")
    parser.add_argument(
        "--process", nargs="+", action="extend", metavar="NAME", help="Only these processes."
    )
    parser.add_argument("--verbose", action="store_true", help="Name every vector.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the report as JSON.")
    return parser


def _is_told(outcome: Outcome, *, verbose: bool) -> bool:
    quiet = {Status.PASSED, Status.CORRECTED}
    return verbose or outcome.status not in quiet


def _line(process: str, report: Report) -> str:
    """Return a line such as `apply                      3/3  (2 corrected)`."""
    notes = [
        f"{report.count(status)} {status.value}"
        for status in (Status.CORRECTED, Status.EXCUSED, Status.MISSING)
        if report.count(status)
    ]
    more = f"  ({', '.join(notes)})" if notes else ""
    return f"{process:28} {report.corrected:3}/{len(report.outcomes)}{more}"


def _totals(report: Report) -> str:
    total = len(report.outcomes)
    parts = [f"raw {report.raw}/{total}", f"corrected {report.corrected}/{total}"]
    others = (Status.EXCUSED, Status.FAILED, Status.MISSING)
    parts += [f"{report.count(status)} {status.value}" for status in others]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
