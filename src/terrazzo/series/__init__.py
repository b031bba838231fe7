"""Kernels for series of observations: bare arrays in and out, usable without the platform."""

from terrazzo.series.smooth import savitzky_golay, whittaker

__all__ = ["savitzky_golay", "whittaker"]
