"""The workspace of whoever starts Python, as the environment tells of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.home import CATALOG_VARIABLE, own_home
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.sandbox.limits import Limits, Mode, UdfRules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RULES_VARIABLE = "TERRAZZO_RULES"
"""What a command hands on to the Python processes that it starts; see `rules_told`."""


def rules_told(roots: Sequence[Path], hosts: Sequence[str], udf: UdfRules) -> str:
    """Return what `own_workspace` reads: what may be read, and how code of users is run."""
    told = {"roots": [str(root) for root in roots], "hosts": list(hosts), "udf": asdict(udf)}
    return json.dumps(told)


def own_workspace(environment: Mapping[str, str], home: Path | None = None) -> Workspace:
    """Open the workspace that the environment names.

    Args:
        environment: of this process.
        home: folder of another catalogue than that which is named; the rules are the same.

    Raises:
        ArgumentInvalid: what the environment says is damaged.
    """
    catalog = environment.get(CATALOG_VARIABLE, "") if home is None else ""
    where = own_home(environment) if home is None else home
    text = environment.get(RULES_VARIABLE, "")
    roots, hosts, udf = _rules(text) if text else ((), (), None)
    return Workspace.of(where, roots, hosts, udf=udf, catalog=catalog)


def _rules(text: str) -> tuple[tuple[Path, ...], tuple[str, ...], UdfRules]:
    """Read what `rules_told` wrote; nothing is looser because it cannot be read."""
    try:
        told: dict[str, Any] = json.loads(text)
        udf = told["udf"]
        environments = tuple((str(name), str(path)) for name, path in udf["environments"])
        rules = UdfRules(Mode(udf["mode"]), Limits(**udf["limits"]), environments)
        return tuple(Path(root) for root in told["roots"]), tuple(told["hosts"]), rules
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentInvalid(
            f"The variable {RULES_VARIABLE} is damaged. Unset it, and start again."
        ) from error
