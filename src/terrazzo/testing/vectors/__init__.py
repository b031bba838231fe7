"""Test vectors of openEO processes, run strictly: `python -m terrazzo.testing.vectors DIR`.

A vector is the arguments of one process and what it must return or raise. It is executed by the
engine, in the ways in which a user's graph would be, and compared strictly: a boolean is no
number, no-data is not NaN, labels have a type and an order, an error has the code that openEO
gives it. Official vectors that contradict the specification are listed in `errata.json`, each
with what mends it.
"""

from terrazzo.testing.vectors.files import VectorFile, VectorsUnreadable, read_vectors
from terrazzo.testing.vectors.run import Verdict, run_vector
from terrazzo.testing.vectors.score import Outcome, Report, Status, run_file

__all__ = [
    "Outcome",
    "Report",
    "Status",
    "VectorFile",
    "VectorsUnreadable",
    "Verdict",
    "read_vectors",
    "run_file",
    "run_vector",
]
