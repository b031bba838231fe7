"""A run in a process of its own, for tests that kill it: `python runner.py OPTIONS_AS_JSON`."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.errors import TerrazzoError
from terrazzo.progress import Progress


def hold(event: str, arguments: tuple[object, ...]) -> None:
    """Wait to be killed when a finished result is to get its name."""
    if event == "os.rename" and Path(str(arguments[0])).name.startswith(".result"):
        time.sleep(600)


class Holding(Progress):
    """Hands out no more blocks when it has made so many, until there is a file, or for ever.

    However late somebody comes to do something to the run, it is still at work.
    """

    def __init__(self, most: int, go: str | None) -> None:
        self._left, self._go = most, None if go is None else Path(go)

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.unit == "blocks":
            self._left -= count
            while self._left <= 0 and (self._go is None or not self._go.exists()):
                time.sleep(0.02)


def main() -> int:
    """Run; 0 = done, 3 = an error of Terrazzo, whose class and text go to stdout."""
    options = json.loads(sys.argv[1])
    if options.get("hold"):
        sys.addaudithook(hold)
    most = options.get("most")
    progress = Progress() if most is None else Holding(most, options.get("go"))
    if options.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_size"], options["file_size"]))
    pool = Pool(options.get("kind", "threads"), 2)
    job = Job.of(options["graph"], skip_bad=options.get("skip_bad", False))
    try:
        made = batch.run(
            job,
            Workspace.of(Path(options["home"])),
            Path(options["out"]),
            block=options["block"],
            pool=pool,
            progress=progress,
        )
    except TerrazzoError as error:
        sys.stdout.write(json.dumps([type(error).__name__, str(error)]))
        return 3
    sys.stdout.write(json.dumps([made.blocks, made.resumed]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
