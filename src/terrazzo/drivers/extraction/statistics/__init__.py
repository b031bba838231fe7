"""Statistics of the pixels under polygons, weighted by the share of each pixel that is covered."""

from terrazzo.drivers.extraction.statistics.names import DEFAULT, STATISTICS, check_statistics
from terrazzo.drivers.extraction.statistics.part import Part
from terrazzo.drivers.extraction.statistics.reduction import Reduction
from terrazzo.drivers.extraction.statistics.rows import Rows

__all__ = ["DEFAULT", "STATISTICS", "Part", "Reduction", "Rows", "check_statistics"]
