"""Loads or compiles kernels beside a server, so that its first tiles need not wait for it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
from typing import TYPE_CHECKING

from terrazzo.drivers.ready import make_ready
from terrazzo.errors import TerrazzoError
from terrazzo.progress import Cancelled, Stoppable
from terrazzo.server.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

SOON = 3.0
"""Seconds in which kernels are loaded if they were compiled before."""
LOCK_FILE = ".kernels.lock"


@contextlib.contextmanager
def preparing(say: Callable[[str], None], home: Path) -> Iterator[None]:
    """Make kernels ready in a thread while the block runs; `say` is told if it takes long.

    The end does not wait for a kernel that is being compiled: what is kept of it is written whole
    or not at all. Of several processes over one home folder one compiles and the others load.
    """
    progress = Stoppable()
    scratch = Scratch(home)  # what an end in the middle leaves there, the next start removes
    told = threading.Timer(
        SOON,
        lambda: say(
            "Compiling, once after an installation. The first tiles take up to a minute meanwhile."
        ),
    )
    told.daemon = True

    def prepare() -> None:
        try:
            with (home / LOCK_FILE).open("w") as lock, scratch.used() as folder:
                fcntl.flock(lock, fcntl.LOCK_EX)
                make_ready(progress, extraction=False, folder=folder)
        except Cancelled:
            pass
        except (TerrazzoError, OSError) as error:
            log.warning("Kernels were not compiled beforehand: %s", error)
        finally:
            told.cancel()
            scratch.drop()

    told.start()
    threading.Thread(target=prepare, name="kernels", daemon=True).start()
    try:
        yield
    finally:
        progress.stopped = True
        told.cancel()
