"""`python -m bench parcels`: statistics of the index under polygons, beside four peers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.fields import SENTINEL_2, as_dense, parcels, sample
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

OURS, CENTRES = "Terrazzo, `extract`", "Terrazzo, pixel centres"
DECODE = "decoding alone (rasterio)"
EXACT = "exactextract"
COUNTS, MILLION = (10_000, 100_000), 1_000_000
"""Parcels of a scene of 10,980 pixels; of a smaller one as many as make it as dense."""
TOLERANCE = {"mean": 2e-6, "count": 2e-4, "sd": 2e-6}
"""exactextract keeps a pixel's share as float32; the index is float32 on both sides."""
ONCE_ABOVE = 4096
"""Edge of a scene from which a run of a peer takes minutes, so that its first one counts."""
CONTESTANTS = "bench.contestants"
RATE, TIMES, DECODING, WEIGHTS_S, PEAK_MB = 200_000.0, 40.0, 1.15, 2.0, 1000.0
JEO_HOURS, JEO_PARCEL_IMAGES = 2000.0, 1e9
"""JEO-batch: 1 M parcels x about 1,000 images in 5 h on 400 cores."""


@dataclass(frozen=True)
class Peer:
    """A library that reduces pixels under polygons."""

    way: str
    """Function of `contestants.parcel_peers`."""
    like: str
    """Which of our rows it must agree with."""
    slow: bool = False
    """Whether it would take an hour for the larger number of parcels, and is left out there."""
    needs_gb: float = 0.0
    """Memory that it takes for a whole scene, beside all others; left out where less is free."""


PEERS = {
    EXACT: Peer("exactextract", OURS),
    "xvec (exactextract)": Peer("xvec", OURS),
    "rasterstats": Peer("rasterstats", CENTRES, slow=True),
    "geocube + groupby": Peer("geocube", CENTRES, slow=True, needs_gb=23.0),
}


def run(data: Dataset, options: Options) -> Section:
    """Race with some parcels and with many, extract very many, and extrapolate."""
    section = _section(data)
    able = _with_room(data, section)
    rates: dict[int, float] = {}
    for wanted in COUNTS:
        count = as_dense(wanted, data.size)
        given = _given(data, parcels(data, count))
        peers = {name: peer for name, peer in able.items() if wanted == COUNTS[0] or not peer.slow}
        whole, rest = _raced(given, peers, options, once=data.size > ONCE_ABOVE)
        rates[count] = count * data.dates / whole.timings["images", OURS].cpu
        section.tables.append(_table(whole, rest, data, count))
        _hold(section, whole, rest, data, count)
    section.tables.append(_spent(given, data, count))
    section.targets.append(_weights(given, count, options))
    count = as_dense(MILLION, data.size)
    table, rates[count] = _very_many(parcels(data, count), data, count, options)
    section.tables += [table, extrapolated(rates)]
    return section


def _with_room(data: Dataset, section: Section) -> dict[str, Peer]:
    """Return the peers for which there is memory, and say which there is none for."""
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free_gb = int(told["MemAvailable"].split()[0]) * 1024 / 1e9
    share = (data.size / SENTINEL_2) ** 2
    able = {}
    for name, peer in PEERS.items():
        if peer.needs_gb * share <= free_gb:
            able[name] = peer
        else:
            section.apart += (
                f" {name} needs {peer.needs_gb * share:.0f} GB, and {free_gb:.0f} GB were free: it "
                "was left out."
            )
    return able


def _given(data: Dataset, polygons: Path, threads: int = 1) -> dict[str, Any]:
    """Return what every contestant is told."""
    return {
        "data": data.parameters,
        "parcels": str(polygons),
        "sample": "",
        "how": "exact",
        "threads": threads,
        "pixels": False,
    }


def _raced(
    given: Mapping[str, Any], peers: Mapping[str, Peer], options: Options, *, once: bool
) -> tuple[Outcome, Outcome]:
    """Race from the files on, and from an image in memory on."""
    outcomes = []
    for task in ("images", "pixels"):
        told = dict(given) | {"pixels": task == "pixels"}
        mine, theirs = f"{CONTESTANTS}.terrazzo_parcels:{task}", f"{CONTESTANTS}.parcel_peers"
        everyone = [
            Contestant(OURS, mine, told),
            Contestant(CENTRES, mine, told | {"how": "centre"}),
            *(
                Contestant(name, f"{theirs}:contestant", told | {"way": peer.way}, once)
                for name, peer in peers.items()
            ),
        ]
        if task == "images":
            everyone.append(Contestant(DECODE, f"{CONTESTANTS}.decoding:parcels", told))
        outcomes.append(race(everyone, [task], options.runs, options.say))
    return outcomes[0], outcomes[1]


def _table(whole: Outcome, rest: Outcome, data: Dataset, count: int) -> Table:
    columns = (
        "CPU s",
        "wall s",
        "peak MB",
        "CPU / decoding",
        "parcel-images per core-second",
        "after decoding",
        "agrees",
    )
    table = Table(f"{count:,} parcels x {data.dates} images", columns)
    timings = {name: timing for (_, name), timing in whole.timings.items()}
    after = after_decoding(rest, count)
    best = min(timing.cpu for name, timing in timings.items() if name in PEERS)
    for name, timing in timings.items():
        cells = (
            seconds(timing.cpu),
            seconds(timing.wall),
            f"{timing.peak_mb:.0f}",
            f"{timing.cpu / timings[DECODE].cpu:.2f}",
        )
        rates = ("", "")
        if name in after:
            rates = (f"{count * data.dates / timing.cpu:,.0f}", f"{after[name]:,.0f}")
        agrees = f"{share_alike(whole, name, table):.2%}" if name in PEERS else ""
        ratio = timing.cpu / best if name == OURS else None
        table.rows.append(Row(name, (*cells, *rates, agrees), ratio=ratio))
    return table


def after_decoding(rest: Outcome, count: int) -> dict[str, float]:
    """Return parcel-images per core-second from pixels in memory on."""
    found = {}
    for (task, name), timing in rest.timings.items():
        images = int(rest.arrays[task, name]["images"])
        found[name] = count * images / timing.cpu
    return found


def share_alike(whole: Outcome, name: str, table: Table) -> float:
    """Return which share of a peer's parcel-images has our statistics, and note if not all."""
    mine, theirs = whole.arrays["images", PEERS[name].like], whole.arrays["images", name]
    alike = np.ones(theirs["count"].shape, bool)
    for statistic, tolerance in TOLERANCE.items():
        one, other = (np.asarray(each[statistic]) for each in (mine, theirs))
        if one.shape != other.shape:
            table.problems.append(f"{name}: {other.shape} results, ours are {one.shape}.")
            return 0.0
        if statistic == "count":
            one, other = np.nan_to_num(one), np.nan_to_num(other)
        alike &= np.isclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
    share = float(alike.mean())
    if share < 1:
        table.problems.append(
            f"{table.title}, {name}: only {share:.4%} of the parcel-images have our statistics."
        )
    return share


def _hold(section: Section, whole: Outcome, rest: Outcome, data: Dataset, count: int) -> None:
    """Hold a race to the targets."""
    after = after_decoding(rest, count)
    ours, floor = whole.timings["images", OURS], whole.timings["images", DECODE]
    title = f"{count:,} parcels x {data.dates} images"
    section.targets += [
        Target.at_least(f"{title}: parcel-images per core-second after decoding", RATE,
                        after[OURS]),
        Target.at_least(f"{title}: the same / exactextract's", TIMES, after[OURS] / after[EXACT]),
        Target.at_most(f"{title}: CPU / only decoding the tiles that parcels touch", DECODING,
                       ours.cpu / floor.cpu),
        Target.at_most(f"{title}: peak memory, MB", PEAK_MB, ours.peak_mb),
    ]  # fmt: skip


def _spent(given: Mapping[str, Any], data: Dataset, count: int) -> Table:
    """Tell where our CPU time goes, in the first run of a process."""
    contestant = Contestant(OURS, f"{CONTESTANTS}.terrazzo_parcels:traced", given)
    spans = dict(race([contestant], ["traced"], 0).arrays["traced", OURS])
    whole = float(spans.pop("all"))
    spans["all else"] = np.array(whole - sum(map(float, spans.values())))
    rows = sorted(spans.items(), key=lambda pair: -float(pair[1]))
    table = Table(
        f"{count:,} parcels x {data.dates} images: where our time goes", ("CPU s", "share")
    )
    for name, cpu in rows:
        table.rows.append(Row(name, (seconds(float(cpu)), f"{float(cpu) / whole:.1%}")))
    return table


def _weights(given: Mapping[str, Any], count: int, options: Options) -> Target:
    """Time the weights of all parcels, as they are made once for a grid."""
    contestant = Contestant(OURS, f"{CONTESTANTS}.terrazzo_parcels:weights", given)
    found = race([contestant], ["weights"], options.runs, options.say)
    return Target.at_most(
        f"Weights of {count:,} parcels: CPU s", WEIGHTS_S, found.timings["weights", OURS].cpu
    )


def _very_many(polygons: Path, data: Dataset, count: int, options: Options) -> tuple[Table, float]:
    """Extract once with all cores; some of the parcels are compared with exactextract."""
    cores = len(os.sched_getaffinity(0))
    some = sample(polygons)
    told = _given(data, polygons, cores) | {"sample": str(some)}
    known = _given(data, some) | {"way": PEERS[EXACT].way}
    everyone = [
        Contestant(OURS, f"{CONTESTANTS}.terrazzo_parcels:images", told, once=True),
        Contestant(DECODE, f"{CONTESTANTS}.decoding:parcels", told, once=True),
        Contestant(EXACT, f"{CONTESTANTS}.parcel_peers:contestant", known, once=True),
    ]
    outcome = race(everyone, ["images"], 0, options.say)
    columns = (
        "CPU s",
        "wall s",
        "peak MB",
        "CPU / decoding",
        "parcel-images per core-second",
        "rows",
        "agrees, of some",
    )
    table = Table(f"{count:,} parcels x {data.dates} images in one run, {cores} threads", columns)
    ours, floor = (outcome.timings["images", name] for name in (OURS, DECODE))
    rate = count * data.dates / ours.cpu
    rows, outside = (int(outcome.arrays["images", OURS][name]) for name in ("rows", "outside"))
    share = share_alike(outcome, EXACT, table)
    if rows != (count - outside) * data.dates:
        table.problems.append(f"{table.title}: {rows:,} rows, not one per parcel and image.")
    for name, timing, rest in (
        (OURS, ours, (f"{rate:,.0f}", f"{rows:,}", f"{share:.2%}")),
        (DECODE, floor, ("", "", "")),
    ):
        cells = (seconds(timing.cpu), seconds(timing.wall), f"{timing.peak_mb:.0f}")
        table.rows.append(Row(name, (*cells, f"{timing.cpu / floor.cpu:.2f}", *rest)))
    return table, rate


def extrapolated(rates: Mapping[int, float]) -> Table:
    """Say how long 1 M parcels x 1,000 images would take, at each number of parcels per image."""
    table = Table(
        f"{JEO_PARCEL_IMAGES:,.0f} parcel-images (1 M parcels x 1,000 images)",
        ("parcel-images per core-second", "core-hours", "times less"),
    )
    hours = {
        f"Terrazzo, {count:,} parcels per image": JEO_PARCEL_IMAGES / rate / 3600
        for count, rate in rates.items()
    }
    for name, each in {**hours, "JEO-batch (reported: 5 h on 400 cores)": JEO_HOURS}.items():
        rate = JEO_PARCEL_IMAGES / each / 3600
        table.rows.append(Row(name, (f"{rate:,.0f}", figure(each), f"{JEO_HOURS / each:,.0f}")))
    return table


def _section(data: Dataset) -> Section:
    dense = (
        f" The numbers of parcels are those that make a scene of {data.size} pixels as dense as "
        f"{COUNTS[0]:,}, {COUNTS[1]:,} and {MILLION:,} do one of {SENTINEL_2:,}."
    )
    dense = "" if data.size == SENTINEL_2 else dense
    compared = (
        "Mean, count and standard deviation of NDVI under random fields of 3.2 ha on average, on "
        f"{data.dates} dates. All read the polygons, decode B04 and B08 and compute the index; "
        "one thread, image by image. exactextract and xvec weight each pixel by the exact share "
        "that the polygon covers, as we do; rasterstats and geocube take pixels whose centre lies "
        "inside, and are held against our row that does the same. *After decoding*: parcel-images "
        "per core-second from an image of the index in memory on, with what can be kept from "
        "image to image (our weights, geocube's labels) made before. *Decoding alone* reads the "
        "internal tiles that parcels touch, and does nothing." + dense
    )
    apart = (
        "ours also searches the catalogue and writes Parquet tables, from which a run can be "
        "resumed; peers hold their results in memory. xvec is given one image at a time, since "
        "all at once would not fit; rasterstats and geocube take part with the smaller number of "
        "parcels only."
    )
    return Section("parcels", "Parcels x images", compared, apart)
