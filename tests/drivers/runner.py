"""A run in a process of its own, for tests that kill it: `python runner.py OPTIONS_AS_JSON`."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from terrazzo.drivers import batch
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.errors import TerrazzoError


def hold(event: str, arguments: tuple[object, ...]) -> None:
    """Wait to be killed when a finished result is to get its name."""
    if event == "os.rename" and Path(str(arguments[0])).name.startswith(".result"):
        time.sleep(600)


class Holding:
    """Waits to be killed when so many blocks are there."""

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Look at what happens in this process."""
        if event == "os.rename" and str(arguments[1]).endswith(".block"):
            self._left -= 1
            if self._left < 0:
                time.sleep(600)


def main() -> int:
    """Run; 0 = done, 3 = an error of Terrazzo, whose class and text go to stdout."""
    options = json.loads(sys.argv[1])
    if options.get("hold"):
        sys.addaudithook(hold)
    if "most" in options:
        sys.addaudithook(Holding(options["most"]))
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
        )
    except TerrazzoError as error:
        sys.stdout.write(json.dumps([type(error).__name__, str(error)]))
        return 3
    sys.stdout.write(json.dumps([made.blocks, made.resumed]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
