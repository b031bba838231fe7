"""Runs files of vectors with the errata, and counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from terrazzo.testing.vectors.errata import ChangeInapplicable, corrected, errata
from terrazzo.testing.vectors.run import Verdict, run_vector

if TYPE_CHECKING:
    from terrazzo.testing.vectors.errata import Erratum
    from terrazzo.testing.vectors.files import Vector, VectorFile


class Status(StrEnum):
    """What became of a vector."""

    PASSED = "passed"
    """As it is."""
    CORRECTED = "corrected"
    """An erratum names what is wrong with it; mended, it passes."""
    EXCUSED = "excused"
    """An erratum names what is wrong with it, and it could not be mended (or only by guess)."""
    FAILED = "failed"
    """The process is wrong; or the erratum, because the vector passes as it is."""
    MISSING = "missing"
    """A process that it needs is not there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one vector."""

    process: str
    """Id of the process."""
    index: int
    """Position in the official file."""
    status: Status
    """What counts."""
    raw: bool
    """Whether it passes as it is, errata aside."""
    text: str = ""
    """What was expected and what came, or why it is excused; empty where it passed."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "process": self.process,
            "index": self.index,
            "status": self.status.value,
            "raw": self.raw,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the vectors of many files."""

    outcomes: tuple[Outcome, ...]
    """In the order in which they ran."""

    def count(self, *statuses: Status) -> int:
        """Return how many vectors have one of the statuses."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    @property
    def raw(self) -> int:
        """How many pass as they are."""
        return sum(outcome.raw for outcome in self.outcomes)

    @property
    def corrected(self) -> int:
        """How many pass as they are or mended."""
        return self.count(Status.PASSED, Status.CORRECTED)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Vectors that should pass and do not."""
        wrong = {Status.FAILED, Status.MISSING}
        return tuple(outcome for outcome in self.outcomes if outcome.status in wrong)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "total": len(self.outcomes),
            "raw": self.raw,
            "corrected": self.corrected,
            **{status.value: self.count(status) for status in Status if status != Status.CORRECTED},
            "vectors": [outcome.to_json() for outcome in self.outcomes],
        }


def run_file(file: VectorFile) -> Report:
    """Run every vector of a file. Errata are of official ones: files that name no oracle."""
    return Report(tuple(_outcome(file, vector) for vector in file.vectors))


def _outcome(file: VectorFile, vector: Vector) -> Outcome:
    index = int(vector["index"])
    raw = run_vector(file.process, vector)
    erratum = None if file.oracle else errata().get((file.process, index))
    if erratum is None or raw.missing:
        status = Status.PASSED if raw.passed else Status.FAILED
        return Outcome(
            file.process, index, Status.MISSING if raw.missing else status, raw.passed, raw.text
        )
    status, text = _with_erratum(file.process, vector, erratum, raw)
    return Outcome(file.process, index, status, raw.passed, text)


def _with_erratum(
    process: str, vector: Vector, erratum: Erratum, raw: Verdict
) -> tuple[Status, str]:
    if raw.passed:
        if not erratum.seen:
            return Status.PASSED, ""
        return Status.FAILED, f"passes as it is, against its erratum: {erratum.reason}"
    if not erratum.change:
        return Status.EXCUSED, erratum.reason
    try:
        mended = run_vector(process, corrected(vector, erratum.change))
    except ChangeInapplicable as error:
        mended = Verdict(False, str(error))
    if mended.passed:
        return Status.CORRECTED, ""
    if mended.missing:
        return Status.MISSING, mended.text
    text = f"{mended.text} (mended: {erratum.reason})"
    return (Status.FAILED if erratum.seen else Status.EXCUSED), text
