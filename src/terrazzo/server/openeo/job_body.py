"""Reads what clients say of a job: hostile until checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terrazzo.errors import TerrazzoError
from terrazzo.ledger.jobs import JobRequest
from terrazzo.logs import Level
from terrazzo.server.web.faults import RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTS = {"title": 1000, "description": 100_000}
"""Longest texts, characters."""
_FIXED = ("id", "status", "progress", "created", "updated", "costs", "usage", "links")


class ProcessGraphMissing(TerrazzoError):
    """A job was to be made without a graph."""

    code, status = "ProcessGraphMissing", 400


class PropertyNotEditable(TerrazzoError):
    """Something was to be changed that only the server sets."""

    code, status = "PropertyNotEditable", 400


class BudgetInvalid(TerrazzoError):
    """A budget is no amount."""

    code, status = "BudgetInvalid", 400


def read_job(body: Mapping[str, Any], *, fresh: bool) -> JobRequest:
    """Return what a body says of a job; members that are not known are left to others.

    The graph need not be valid: it may call processes, or load collections, that come later.

    Args:
        body: a JSON object.
        fresh: whether the job is made, and not changed.

    Raises:
        ProcessGraphMissing, PropertyNotEditable, BudgetInvalid, RequestInvalid: it is not what a
            job can be.
    """
    if not fresh:
        for member in _FIXED:
            if member in body:
                raise PropertyNotEditable(
                    f"{member!r} of a job is set by the server. What can be changed is title, "
                    "description, process, log_level, plan and budget."
                )
    texts = {}
    for member, longest in _TEXTS.items():
        if member in body:
            text = body[member]
            if text is not None and (not isinstance(text, str) or len(text) > longest):
                raise RequestInvalid(f"`{member}` is a text of at most {longest:,} characters.")
            texts[member] = text
    return JobRequest(texts, _process(body, fresh=fresh), _options(body, fresh=fresh))


def _process(body: Mapping[str, Any], *, fresh: bool) -> Mapping[str, Any] | None:
    if not fresh and "process" not in body:
        return None
    process = body.get("process")
    graph = process.get("process_graph") if isinstance(process, dict) else None
    if not isinstance(process, dict) or not isinstance(graph, dict) or not graph:
        raise ProcessGraphMissing(
            'A job has a graph: {"process": {"process_graph": {...}}}, with at least one node.'
        )
    return process


def _options(body: Mapping[str, Any], *, fresh: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"log_level": Level.INFO.value} if fresh else {}
    if body.get("log_level") is not None:
        if body["log_level"] not in list(Level):
            raise RequestInvalid(f"`log_level` is one of {', '.join(Level)}.")
        options["log_level"] = body["log_level"]
    plan, budget = body.get("plan"), body.get("budget")
    if plan is not None:
        if not isinstance(plan, str) or len(plan) > _TEXTS["title"]:
            raise RequestInvalid("`plan` is the name of a billing plan, a text.")
        options["plan"] = plan
    if "budget" in body:
        if budget is not None and (
            isinstance(budget, bool) or not isinstance(budget, int | float) or budget < 0
        ):
            raise BudgetInvalid(
                "`budget` is the largest sum that the job may cost, 0 or more; null is no limit. "
                "Jobs cost nothing here, so that it limits nothing."
            )
        options["budget"] = budget
    return options
