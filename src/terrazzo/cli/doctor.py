"""The command that says whether this machine has what Terrazzo needs, and what to do if not."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.errors import TerrazzoError
from terrazzo.sandbox.limits import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from terrazzo.cli.options import Settings
    from terrazzo.sandbox.layers import Machine

_FREE_BYTES = 1_000_000_000
_EXTRAS = {
    "client": "`terrazzo.connect()`",
    "postgresql": "a shared database",
    "sample": "`terrazzo demo`",
    "udf": "scikit-image and scikit-learn for users' code",
}
_OLDEST = (3, 11)
_TRIAL = "import numpy as np\n\ndef apply_datacube(cube, context):\n    return cube + 1\n"
_SYSCTLS = (
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
    "user/max_user_namespaces",
)


class State(StrEnum):
    """How something is."""

    OK = "ok"
    NOTE = "note"
    """Not as good as it could be, and no fault."""
    MISSING = "missing"
    """Something does not work for want of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    state: State
    found: str
    advice: str = ""
    """What to do, if anything."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
@click.pass_context
def doctor(ctx: click.Context, settings: Settings, /, *, as_json: bool) -> None:
    """Say whether this machine has what Terrazzo needs, and how to get what is missing.

    Looks at Python and its libraries, the home folder and its catalogue, compiled kernels, and
    at what shuts the code of users in: it tries each layer out, and runs a UDF; and a module of
    GRASS, where that is installed. Exit status 0 if nothing is missing, else 1.

    \b
    Example:
      terrazzo --udf-environment ml=/opt/ml/bin/python doctor
    """  # noqa: D301 - \b is click's mark, not an escape
    checks: list[Check] = []
    for look in (_python, _libraries, _extras, _home, _catalogue, _kernels, _udfs, _grass):
        for check in look(settings):
            checks.append(check)
            if not as_json:
                _show(check)
    fine = all(check.state is not State.MISSING for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": fine, "checks": [asdict(check) for check in checks]}))
    elif not fine:
        names = ", ".join(check.name for check in checks if check.state is State.MISSING)
        click.echo(f"\nMissing: {names}.")
    ctx.exit(0 if fine else 1)


def _show(check: Check) -> None:
    colour = {State.OK: "green", State.NOTE: "yellow", State.MISSING: "red"}[check.state]
    word = click.style(f"{check.state:<8}", fg=colour)
    click.echo(f"{word}{check.name:<17}{check.found}")
    if check.advice:
        click.echo(f"{'':25}{check.advice}")


def _python(_: Settings) -> Iterator[Check]:
    found = f"{platform.python_version()} ({sys.executable})"
    old = sys.version_info < _OLDEST
    advice = f"Install Python {'.'.join(map(str, _OLDEST))} or later." if old else ""
    yield Check("python", State.MISSING if old else State.OK, found, advice)


def _libraries(_: Settings) -> Iterator[Check]:
    wrong = [problem for problem in map(_problem, _required("")) if problem]
    if not _required(""):
        advice = "Install it, with `python -m pip install --editable .` in a checkout."
        yield Check("libraries", State.NOTE, "Terrazzo itself is not installed", advice)
    elif wrong:
        advice = "Run `python -m pip install --upgrade terrazzo`."
        yield Check("libraries", State.MISSING, "; ".join(wrong), advice)
    else:
        yield Check("libraries", State.OK, f"all {len(_required(''))} are there")


def _extras(_: Settings) -> Iterator[Check]:
    for extra, use in _EXTRAS.items():
        wrong = [problem for problem in map(_problem, _required(extra)) if problem]
        if wrong:
            advice = f"For {use}: `python -m pip install 'terrazzo[{extra}]'`."
            yield Check(f"extra {extra}", State.NOTE, "; ".join(wrong), advice)
        else:
            yield Check(f"extra {extra}", State.OK, use)


def _required(extra: str) -> list[Any]:
    """Return the requirements of Terrazzo, or of one of its extras."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - xarray's

    try:
        told = [Requirement(text) for text in importlib.metadata.requires("terrazzo") or ()]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        one
        for one in told
        if (one.marker is None) == (not extra)
        and (one.marker is None or one.marker.evaluate({"extra": extra}))
    ]


def _problem(required: Any) -> str:
    try:
        version = importlib.metadata.version(required.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{required.name} is not installed"
    if required.specifier.contains(version, prereleases=True):
        return ""
    return f"{required.name} is {version}, needed is {required.specifier}"


def _home(settings: Settings) -> Iterator[Check]:
    folder = settings.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = "Name another folder with --home, or get the right to write there."
        yield Check("home", State.MISSING, f"{settings.home}: {error.strerror}", advice)
        return
    told = f"{settings.home}, {free / 1e9:.1f} GB free"
    little = free < _FREE_BYTES
    advice = "Make room, or name another folder with --home." if little else ""
    yield Check("home", State.NOTE if little else State.OK, told, advice)


def _catalogue(settings: Settings) -> Iterator[Check]:
    workspace = settings.workspace()
    if not workspace.has_catalog:
        advice = "Make one with `terrazzo ingest PATH --collection ID`, or try `terrazzo demo`."
        yield Check("catalogue", State.NOTE, "none yet", advice)
        return
    try:
        with workspace.catalog() as catalog:
            told = f"{catalog.shown}, {catalog.kind}, {len(catalog.collections())} collections"
    except (TerrazzoError, OSError) as error:
        yield Check("catalogue", State.MISSING, str(error))
        return
    yield Check("catalogue", State.OK, told)


def _kernels(_: Settings) -> Iterator[Check]:
    """Say whether compiled kernels are kept, so that no process compiles them again."""
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415

    import terrazzo.drivers.ready  # noqa: F401, PLC0415 - loads what has kernels

    modules = [module for name, module in sys.modules.items() if name.startswith("terrazzo.")]
    kernels = [v for module in modules for v in vars(module).values() if isinstance(v, Dispatcher)]
    folders = {Path(one.stats.cache_path) for one in kernels if one.stats.cache_path}
    kept = sum(len(list(folder.glob("*.nbi"))) for folder in folders)
    if kept:
        yield Check("kernels", State.OK, f"{kept} compiled and kept")
        return
    writable = all(
        os.access(folder if folder.exists() else folder.parent, os.W_OK) for folder in folders
    )
    advice = (
        "The first tiles compile them, once, a minute or two."
        if writable
        else (
            "Set NUMBA_CACHE_DIR to a folder that can be written: else every process compiles them."
        )
    )
    yield Check("kernels", State.NOTE if writable else State.MISSING, "none compiled yet", advice)


def _udfs(settings: Settings) -> Iterator[Check]:
    """Say what shuts users' code in, and run some."""
    from terrazzo.sandbox.layers import this_machine  # noqa: PLC0415

    mode = settings.udf.mode
    machine = this_machine()
    needed = mode is Mode.SANDBOXED
    yield from _layers(machine, needed=needed)
    if mode is Mode.OFF:
        yield Check("UDFs", State.NOTE, "switched off", "Allow them with `--udf sandboxed`.")
        return
    if mode is Mode.TRUSTED:
        advice = "Whoever may send a graph may do what this account may: for your own code only."
        yield Check("isolation", State.NOTE, "none, code is trusted", advice)
    for name in ("", *(name for name, _ in settings.udf.environments)):
        yield _trial(settings, name)


def _layers(machine: Machine, *, needed: bool) -> Iterator[Check]:
    enough = State.NOTE if not machine.missing or not needed else State.MISSING
    yield _layer("seccomp", machine.seccomp, "system calls can be filtered", enough)
    told = "can be entered without rights"
    advice = "" if not machine.namespaces else _how_to_get_namespaces()
    yield _layer("namespaces", machine.namespaces, told, enough, advice)
    none = "" if machine.landlock else "the kernel has none"
    advice = (
        "Linux 5.13 or later has it; add `landlock` to the security modules that it is started "
        "with (`lsm=` of its command line)."
    )
    yield _layer("Landlock", none, f"version {machine.landlock}", enough, advice)
    bubblewrap = shutil.which("bwrap")
    told = "not used: namespaces are entered without it"
    yield Check("bubblewrap", State.OK, f"{bubblewrap or 'not installed'}, {told}")
    used = ["limits", *(["system calls"] if not machine.seccomp else [])]
    used += ["namespaces"] if not machine.namespaces else []
    used += [f"Landlock {machine.landlock}"] if machine.landlock else []
    if not machine.missing:
        yield Check("isolation", State.OK, ", ".join(used))
    elif needed:
        yield Check("isolation", State.MISSING, machine.missing, "UDFs are refused until then.")


def _layer(name: str, reason: str, told: str, state: State, advice: str = "") -> Check:
    if reason:
        return Check(name, state, reason, advice)
    return Check(name, State.OK, told)


def _how_to_get_namespaces() -> str:
    """Say which settings of the system decide, as they are."""
    found = []
    for name in _SYSCTLS:
        path = Path("/proc/sys") / name
        if path.exists():
            found.append(f"{name.replace('/', '.')} = {path.read_text().strip()}")
    return (
        "An administrator may allow them: `sysctl kernel.unprivileged_userns_clone=1`, "
        "`user.max_user_namespaces` above 0, `kernel.apparmor_restrict_unprivileged_userns=0`; in "
        "a container, its seccomp profile must allow `unshare` and `mount`. "
        f"Here: {', '.join(found) or 'no such setting'}."
    )


def _trial(settings: Settings, name: str) -> Check:
    """Run a UDF in an environment."""
    import numpy as np  # noqa: PLC0415

    from terrazzo.sandbox import Axis, Block, sandbox_of  # noqa: PLC0415

    block = Block(np.zeros((4, 4), np.float32), (Axis("y", "spatial"), Axis("x", "spatial")))
    sandbox = sandbox_of(settings.udf)
    what = f"environment {name}" if name else "UDFs"
    try:
        environment = sandbox.environment(_TRIAL, name or None)
        seconds = [_seconds(lambda: sandbox.run(_TRIAL, block, {}, name or None)) for _ in "12"]
    except TerrazzoError as error:
        return Check(what, State.MISSING, str(error), str(error.__cause__ or ""))
    packages = ", ".join(f"{n} {v}" for n, v in environment.packages if not name) or (
        f"{len(environment.packages)} packages"
    )
    told = f"Python {environment.version}, {packages}; first block {seconds[0]:.1f} s, then "
    return Check(what, State.OK, f"{told}{seconds[1] * 1000:.1f} ms")


def _grass(_: Settings) -> Iterator[Check]:
    """Run a module of GRASS; it is a note if there is none, as most graphs need none."""
    import numpy as np  # noqa: PLC0415

    from terrazzo.grass import GrassMissing, Place, call_of, run, version  # noqa: PLC0415

    image = np.zeros((4, 4), np.float32), np.ones((4, 4), np.bool_)
    place = Place("EPSG:32633", (500_000.0, 0.0, 500_040.0, 40.0), (10.0, 10.0))
    try:
        seconds = [_seconds(lambda: run(call_of("r.relief", {}), [image], place)) for _ in "12"]
        told = f"{version()}; first block {seconds[0]:.1f} s, then {seconds[1] * 1000:.0f} ms"
    except GrassMissing:
        advice = "For `run_grass`: `apt-get install grass-core`."
        yield Check("GRASS", State.NOTE, "not installed", advice)
    except TerrazzoError as error:
        yield Check("GRASS", State.MISSING, str(error))
    else:
        yield Check("GRASS", State.OK, told)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
