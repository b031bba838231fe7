"""An extraction as a Python object: profiles, cleaned and smoothed, and arrays, read when asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from terrazzo.drivers.extraction.compared import MIN_VALID, Measure
from terrazzo.drivers.extraction.damaged import names_damage
from terrazzo.drivers.extraction.dense import dense
from terrazzo.drivers.extraction.opened import day_of, opened
from terrazzo.drivers.extraction.outliers import outliers
from terrazzo.drivers.extraction.parts import TABLE, columns_of
from terrazzo.drivers.extraction.peers import MOST, WITHIN_M, peers
from terrazzo.drivers.extraction.polygons import FILE as POLYGONS
from terrazzo.drivers.extraction.samples import PLACE
from terrazzo.drivers.extraction.scenes import states
from terrazzo.drivers.extraction.shown import as_html
from terrazzo.drivers.extraction.smoothing import Smoothing, smoothed
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.storage.vectors.stored import free_name

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from terrazzo.drivers.extraction.dense import Dense
    from terrazzo.drivers.extraction.peers import Peer
    from terrazzo.drivers.extraction.scenes import Kept
    from terrazzo.drivers.extraction.smoothing import Method

_SMOOTHED: Final = ("mean", "median")
"""What is smoothed unless told."""
_SHOWN: Final = 5
_IDS: Final = 1000
"""Polygons of which the rows are looked for by id; of more the whole table is read."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """What `terrazzo extract` has made, or makes right now. Nothing is read before it is asked for.

    `clean` and `smooth` return another object over the same files.
    """

    folder: Path
    """Of the extraction."""
    min_valid: float = 0.0
    """Least `valid_share` of the rows that are shown."""
    smoothing: Smoothing | None = None
    """How profiles and arrays are smoothed; None for observations as they are."""

    @cached_property
    def table(self) -> Any:
        """The clean rows as Arrow dataset: `.to_table(columns=...)`, `.to_batches()`, DuckDB."""
        return self._parts if self._clean is None else self._parts.filter(self._clean)

    @cached_property
    @names_damage
    def polygons(self) -> Any:
        """The polygons as GeoDataFrame: attributes, `repaired` and geometry, by id."""
        import geopandas  # noqa: PLC0415 - takes two seconds, and only this needs it

        return geopandas.read_parquet(self.polygons_file).set_index("id")

    @property
    def polygons_file(self) -> Path:
        """GeoParquet of the polygons."""
        return self.folder / POLYGONS

    @property
    def days(self) -> tuple[str, ...]:
        """The day of each part of the table, `2024-05-15`; empty where a part has several."""
        return tuple(map(day_of, self._parts.get_fragments()))

    @property
    def scenes(self) -> tuple[Kept, ...]:
        """The units of work: what is waiting, running, done or failed, and why."""
        return states(self.folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns that tell rows of one polygon and date apart, such as `bands`."""
        return columns_of(self._parts.schema)[0]

    @property
    def statistics(self) -> tuple[str, ...]:
        """Columns of what was found."""
        return columns_of(self._parts.schema)[1]

    @property
    def of_pixels(self) -> bool:
        """Whether the rows are single pixels, training samples, and not statistics of polygons."""
        return set(PLACE) <= set(self.statistics)

    def clean(self, *, min_valid: float = 0.9) -> Extraction:
        """Leave out observations of which too little was valid, such as under clouds.

        Args:
            min_valid: least `valid_share` of a row, 0 to 1.

        Raises:
            ArgumentInvalid: it is no share, or `valid_share` was not extracted.
        """
        if not 0 <= min_valid <= 1:
            raise ArgumentInvalid(f"min_valid={min_valid} is no share: give 0 to 1.")
        self._check(("valid_share",))
        return replace(self, min_valid=min_valid)

    def smooth(
        self,
        method: Method = "whittaker",
        *,
        statistics: Sequence[str] = (),
        smoothness: float = 1000.0,
        window: int = 31,
        degree: int = 2,
        every: int = 1,
        weight: str = "",
    ) -> Extraction:
        """Put a smooth curve through each profile, with a value for every day.

        Images of one day count as one, that which saw most. Gaps are filled between the first
        observation and the last.

        Args:
            method: `whittaker` (a balance between the observations and a curve without bends) or
                `savitzky-golay` (polynomials in a moving window).
            statistics: what is smoothed; `mean` and `median`, as far as they are there, if empty.
            smoothness: of Whittaker; 100 follows weeks, 10000 seasons.
            window: of Savitzky and Golay, days; odd.
            degree: of Savitzky and Golay.
            every: days between the dates of what comes out.
            weight: of Whittaker; the statistic by which observations count, such as `valid_share`.

        Raises:
            ArgumentInvalid: a statistic is not there or no number, the rows have no dates, or
                another argument makes no sense.
        """
        chosen = tuple(statistics) or tuple(s for s in _SMOOTHED if s in self.statistics)
        if not chosen:
            raise ArgumentInvalid(
                "There is neither mean nor median. Name what is smoothed with statistics=[...]: "
                f"{', '.join(self._numeric)}."
            )
        how = Smoothing(method, chosen, smoothness, window, degree, every, weight)
        how.check()
        self._check(how.columns)
        if not self._has_instants:
            raise ArgumentInvalid(
                "The rows have no dates, so that there is nothing to smooth. Extract a graph that "
                "keeps its dimension t."
            )
        return replace(self, smoothing=how)

    @names_damage
    def profile(self, polygon: Any) -> Any:
        """Return the observations of one polygon as DataFrame, by time.

        Of each part of the table only the group of rows is read that has the polygon.

        Args:
            polygon: its id.

        Returns:
            One row per date and label, with `t` as index (if there are dates): the labels, the
            images in `item`, the statistics. Smoothed, one row per day and label.

        Raises:
            ArgumentInvalid: there is no such polygon.
        """
        ids = self._typed([polygon])
        if self.smoothing is None:
            rows = self._parts.to_table(filter=self._rows_of(ids))
            frame = rows.to_pandas(maps_as_pydicts="strict")
        else:
            frame = _frame(self._arrays(ids, self.smoothing))
        if not len(frame):
            self._known([polygon])
        if "t" in frame.columns:
            frame = frame.set_index("t").sort_index(kind="stable")
        return frame.drop(columns=[name for name in ("id", "date") if name in frame.columns])

    @names_damage
    def to_xarray(
        self,
        statistics: Sequence[str] = (),
        *,
        ids: Sequence[Any] = (),
        daily: bool = False,
    ) -> Any:
        """Return the table as xarray Dataset: a variable per statistic over `id`, `t`, labels.

        Args:
            statistics: which; all that are numbers if empty, or what is smoothed.
            ids: of which polygons; all if empty, in the order of their file.
            daily: whether images of one day share a place, the one counting that saw most.

        Returns:
            Attributes of the polygons are coordinates along `id`. NaN where nothing was observed.

        Raises:
            ArgumentInvalid: a statistic or polygon is not there.
            PlanTooLarge: the arrays would take more than 4 GB.
        """
        how = self.smoothing
        self._check(statistics)
        chosen = self._known(ids) if len(ids) else self._ids
        if how is None:
            names = tuple(statistics) or self._numeric
            return self._dataset(self._dense(chosen, names, daily=daily), chosen)
        if strange := [name for name in statistics if name not in how.statistics]:
            raise ArgumentInvalid(
                f"{', '.join(strange)}: only {', '.join(how.statistics)} was smoothed. Name it in "
                "smooth(statistics=[...])."
            )
        how = replace(how, statistics=tuple(statistics) or how.statistics)
        return self._dataset(self._arrays(chosen, how), chosen)

    @names_damage
    def peers(
        self, polygon: Any, *, by: str, most: int = MOST, within_m: float = WITHIN_M
    ) -> tuple[Peer, ...]:
        """Return the nearest polygons of the same class; see `extraction.peers.peers`.

        Args:
            polygon: its id.
            by: attribute with the class.
            most: how many at most.
            within_m: how far away at most, metres.

        Raises:
            ArgumentInvalid: there is no such polygon or attribute.
        """
        return peers(self.folder, str(polygon), by, most=most, within_m=within_m)

    @names_damage
    def outliers(
        self,
        *,
        by: str,
        statistic: str = "mean",
        band: str = "",
        most: int = MOST,
        within_m: float = WITHIN_M,
    ) -> Any:
        """Rank polygons by how far they are from their peers; see `extraction.outliers.outliers`.

        Args:
            by: attribute with the class.
            statistic: what is compared.
            band: label in the first column of labels; needed where there are several.
            most: peers of a polygon at most.
            within_m: how far away they may be, metres.

        Returns:
            DataFrame, the farthest first.

        Raises:
            ArgumentInvalid: there is no such attribute, statistic or band.
        """
        measure = Measure(statistic, band, self.min_valid or MIN_VALID)
        return outliers(self.folder, by, measure, most=most, within_m=within_m).to_pandas()

    @names_damage
    def arrays(self, statistics: Sequence[str]) -> Dense:
        """Return clean statistics of all polygons by day, as plain arrays.

        Args:
            statistics: which, numbers.

        Raises:
            ArgumentInvalid: one is not there.
            PlanTooLarge: the arrays would take more than 4 GB.
        """
        self._check(statistics)
        return self._dense(self._ids, tuple(statistics), daily=self._has_instants)

    @names_damage
    def _repr_html_(self) -> str:
        """Show what there is, as notebooks do."""
        return as_html(self._facts(), self.table.head(_SHOWN), self.polygons_file)

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield what is said of the extraction, with its name."""
        yield "polygons", f"{pq.read_metadata(self.polygons_file).num_rows:,}"
        days = sorted({day for day in self.days if day})
        if days:
            yield "dates", f"{len(days):,}, from {days[0]} to {days[-1]}"
        clean = f", where {self.min_valid:.0%} or more is valid" if self.min_valid else ""
        yield "rows", f"{self.table.count_rows():,}{clean}"
        if self.labels:
            yield "labels", ", ".join(self.labels)
        yield "columns", ", ".join(self.statistics)
        states = Counter(scene.state for scene in self.scenes)
        yield "scenes", ", ".join(f"{count:,} {state}" for state, count in states.items())
        how = self.smoothing
        if how is not None:
            yield "smooth", f"{', '.join(how.statistics)}, every {how.every} d, by {how.method}"

    @cached_property
    @names_damage
    def _parts(self) -> Any:
        """All parts of the table, not cleaned."""
        return opened(self.folder)

    @cached_property
    @names_damage
    def _ids(self) -> Any:
        """Ids of all polygons, an Arrow array."""
        with pq.ParquetFile(self.polygons_file) as file:
            return pa.concat_arrays(file.read(columns=["id"])["id"].chunks)

    @property
    def _clean(self) -> Any:
        """Expression of the clean rows; None for all."""
        return pc.field("valid_share") >= self.min_valid if self.min_valid else None

    @property
    def _has_instants(self) -> bool:
        schema = self._parts.schema
        return "t" in schema.names and bool(pa.types.is_timestamp(schema.field("t").type))

    @property
    def _numeric(self) -> tuple[str, ...]:
        """The statistics that are numbers."""
        schema = self._parts.schema
        kinds = {name: schema.field(name).type for name in self.statistics}
        return tuple(
            name
            for name, kind in kinds.items()
            if pa.types.is_floating(kind) or pa.types.is_integer(kind)
        )

    def _check(self, names: Sequence[str]) -> None:
        """Refuse what is no statistic, or none that is a number.

        Raises:
            ArgumentInvalid: one is.
        """
        for name in names:
            if name not in self._numeric:
                raise ArgumentInvalid(
                    f"The extraction has no numbers {name!r}.{suggest(name, self._numeric)} It has "
                    f"{', '.join(self._numeric)}. Extract once more with --stats to have others."
                )

    def _known(self, ids: Sequence[Any]) -> Any:
        """Return ids as Arrow has them.

        Raises:
            ArgumentInvalid: one is not there.
        """
        held, asked = self._ids, self._typed(ids)
        missing = pc.index_in(asked, value_set=held).is_null().to_pylist()
        if any(missing):
            some = ", ".join(repr(one.as_py()) for one in held[:_SHOWN])
            raise ArgumentInvalid(
                f"There is no polygon {ids[missing.index(True)]!r}. There are {len(held):,}, such "
                f"as {some}."
            )
        return asked

    def _typed(self, ids: Sequence[Any]) -> Any:
        """Return ids as the table has them; null where one is of another type."""
        kind = self._parts.schema.field("id").type
        try:
            plain = [one.item() if isinstance(one, np.generic) else one for one in ids]
            return pa.array(plain, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.nulls(len(ids), kind)

    def _rows_of(self, ids: Any) -> Any:
        """Return the expression of the clean rows of some polygons."""
        field = pc.field("id")
        found = field == ids[0] if len(ids) == 1 else field.isin(ids)
        return found if self._clean is None else found & self._clean

    def _dense(self, ids: Any, statistics: Sequence[str], *, daily: bool) -> Dense:
        if self.of_pixels:
            raise ArgumentInvalid(
                "The rows are single pixels, of which a polygon has many on a date. Use `profile` "
                "or `table`."
            )
        where = self._rows_of(ids) if len(ids) <= _IDS else self._clean
        return dense(self._parts, ids, self.labels, statistics, where=where, daily=daily)

    def _arrays(self, ids: Any, how: Smoothing) -> Dense:
        return smoothed(self._dense(ids, how.columns, daily=True), how)

    def _dataset(self, found: Dense, ids: Any) -> Any:
        """Return arrays as xarray Dataset, with the attributes of the polygons."""
        import xarray as xr  # noqa: PLC0415 - takes a second, and only this needs it

        axes = {name: _coordinate(axis) for name, axis in found.axes.items()}
        with pq.ParquetFile(self.polygons_file) as file:
            names = [n for n in file.schema_arrow.names if n not in {"id", "geometry"}]
            rows = file.read(columns=names).take(pc.index_in(ids, value_set=self._ids))
        attributes = {
            free_name(name, [*axes, *found.arrays]): ("id", _coordinate(rows[name]))
            for name in names
        }
        variables = {name: (list(axes), array) for name, array in found.arrays.items()}
        return xr.Dataset(variables, {**axes, **attributes})


def open_extraction(folder: str | os.PathLike[str]) -> Extraction:
    """Open what `terrazzo extract` has written.

    Args:
        folder: that was given to `terrazzo extract -o`; the extraction may still run.

    Raises:
        ArgumentInvalid: it holds no extraction, or none of which a part is done.
    """
    path = Path(folder).expanduser()
    if not (path / POLYGONS).is_file():
        raise ArgumentInvalid(
            f"{str(folder)!r} holds no extraction. Name the folder that was given to `terrazzo "
            "extract -o`."
        )
    if not any((path / TABLE).rglob("[!._]*.parquet")):
        raise ArgumentInvalid(
            f"Nothing in {str(folder)!r} is done yet. Give the same `terrazzo extract` again to go "
            "on, and look what failed with `terrazzo extract ... --dry-run`."
        )
    return Extraction(path)


def _frame(found: Dense) -> Any:
    """Return the arrays of one polygon as DataFrame: a row for each place that has a number."""
    import pandas as pd  # noqa: PLC0415 - takes a second, and only this needs it

    axes = {name: _coordinate(axis) for name, axis in found.axes.items() if name != "id"}
    index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
    columns = {name: array[0].ravel() for name, array in found.arrays.items()}
    frame = pd.DataFrame(columns, index).dropna(how="all").reset_index()
    frame["t"] = frame["t"].dt.tz_localize("UTC")
    return frame


def _coordinate(axis: Any) -> Any:
    """Return an Arrow column as xarray has it: times without zone, texts as objects."""
    if pa.types.is_timestamp(axis.type):
        return axis.cast(pa.timestamp("us")).to_numpy().astype("datetime64[ns]")
    if pa.types.is_date(axis.type):
        return axis.to_numpy(zero_copy_only=False).astype("datetime64[ns]")
    return axis.to_pandas().to_numpy()
