"""Sheets of an extraction's parcels: pictures and profile from its graph, peers from its table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.calendar import Sheet
from terrazzo.drivers.extraction.chips import Look, chips, drawn_node
from terrazzo.drivers.extraction.compared import Measure
from terrazzo.drivers.extraction.parcel import has_months, parcel_of
from terrazzo.drivers.extraction.peers import MOST, WITHIN_M, peer_profile, peers
from terrazzo.drivers.extraction.polygons import kept
from terrazzo.drivers.extraction.profiles import profile
from terrazzo.drivers.extraction.record import recorded
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.extraction.chips import Chips
    from terrazzo.drivers.extraction.parcel import Parcel
    from terrazzo.drivers.extraction.peers import PeerProfile
    from terrazzo.drivers.job import Workspace

BLOCK = 1024
"""Edge of the blocks in which stages of a graph run, pixels."""
_DAY, _SHORT = 10, 12


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sheet shall show."""

    look: Look = field(default_factory=Look)
    """Pictures."""
    measure: Measure = field(default_factory=Measure)
    """Profile: which statistic of which band; empty = the first one."""
    by: str = ""
    """Attribute with the class, for peers; empty = no peers."""
    most: int = MOST
    """Peers at most."""
    within_m: float = WITHIN_M
    """How far away they may be, metres."""
    first_month: int = 1
    """Month with which a row begins, 1..12."""


def calendar_sheet(
    workspace: Workspace,
    folder: Path,
    parcel: str,
    wanted: Wanted | None = None,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> Sheet:
    """Make the calendar sheet of a parcel of an extraction.

    Pictures and profile are computed now, with the extraction's graph, weights and buffer, and of
    the images that there are now; the peers are as the table has them. Images that cannot be read
    are left out and named on the sheet.

    Args:
        workspace: where the graph's collections are.
        folder: of the extraction.
        parcel: its id, as text.
        wanted: what the sheet shall show.
        pool: threads and memory.
        progress: told about every date.

    Raises:
        ArgumentInvalid: no extraction, no such parcel, node, attribute or statistic.
        BandNotFound, NoDataAvailable: the graph does not give what is asked for.
        PlanTooLarge: the pictures, or a stage, need more memory than there is.
    """
    wanted, pool, progress = wanted or Wanted(), pool or Pool(), progress or Progress()
    record = recorded(folder)
    found = parcel_of(kept(folder), parcel)
    job = replace(record.job, skip_bad=True)
    inference = job.infer(workspace)
    look, measure, result = wanted.look, wanted.measure, inference.graph.result
    nodes = tuple(dict.fromkeys((result, drawn_node(inference, look.node))))
    inference, _ = settled(job, inference, nodes, Means(BLOCK, pool, progress))
    made = chips(job, inference, found.shape, found.crs, look, pool=pool, progress=progress)
    course = profile(
        job,
        inference,
        found.shape,
        found.crs,
        asked=Asked(**{name: record.reduction[name] for name in ("how", "around", "buffer_m")}),
        statistic=measure.statistic,
        band=measure.band,
        dates=look.dates,
        pool=pool,
        progress=progress,
    )
    others = None
    if wanted.by:
        measured = replace(wanted, measure=replace(measure, band=course.band))
        others = _others(folder, found, measured, has_months(inference.graph))
    return Sheet(
        f"Parcel {found.id}",
        made,
        course,
        others,
        _facts(found, made, inference.graph.digest),
        result,
        wanted.first_month,
        min_valid=measure.min_valid,
        months=has_months(inference.graph),
    )


def _others(folder: Path, parcel: Parcel, wanted: Wanted, months: bool) -> PeerProfile | None:
    """Return the profiles of a parcel's peers on the dates that are drawn; None without any."""
    chosen = peers(folder, str(parcel.id), wanted.by, most=wanted.most, within_m=wanted.within_m)
    if not chosen:
        return None
    reach = max(peer.metres for peer in chosen) / 1000
    kind = f"{wanted.by} {parcel.attributes[wanted.by]}"
    name = f"{len(chosen)} peers, {kind}, within {reach:.2g} km"
    found = peer_profile(folder, chosen, name, wanted.measure)
    found = found.during(wanted.look.dates, months=months)
    return found if found.labels else None


def _facts(parcel: Parcel, made: Chips, digest: str) -> tuple[str, ...]:
    """Return what is said of a parcel below the title."""
    told = [f"{name}: {value}" for name, value in parcel.attributes.items() if value is not None]
    labels = [chip.label[:_DAY] for chip in made.chips if chip.label]
    count = f"{len(labels)} dates" if len(labels) != 1 else "1 date"
    period = f", {min(labels)} to {max(labels)}" if labels else ""
    lines = ["; ".join(told)] if told else []
    return (*lines, f"{count}{period}; graph {digest[:_SHORT]}")
