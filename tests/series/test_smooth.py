"""Smoothing of series, held against SciPy's sparse solver and its polynomial filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from scipy import sparse
from scipy.sparse.linalg import spsolve

from terrazzo.errors import ArgumentInvalid
from terrazzo.series import savitzky_golay, whittaker


def solved(y: np.ndarray, w: np.ndarray, smoothness: float) -> np.ndarray:
    """Solve the normal equations of the penalised least squares as SciPy does."""
    differences = sparse.diags_array(
        [1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(len(y) - 2, len(y))
    )
    matrix = sparse.diags_array(w) + smoothness * differences.T @ differences
    return spsolve(matrix.tocsc(), w * np.where(w > 0, y, 0))


@given(seed=st.integers(0, 10_000), n=st.integers(3, 60), smoothness=st.floats(0.01, 1e5))
def test_whittaker_solves_its_normal_equations(seed: int, n: int, smoothness: float) -> None:
    random = np.random.default_rng(seed)
    y, w = random.normal(size=n), random.uniform(0.1, 1, size=n)
    y[1:-1][random.random(n - 2) < 0.4] = np.nan

    smooth = whittaker(y[None], smoothness, w[None])[0]

    expected = solved(y, np.where(np.isnan(y), 0, w), smoothness)
    np.testing.assert_allclose(smooth, expected, rtol=1e-6, atol=1e-6)


def test_a_line_with_gaps_stays_a_line() -> None:
    line = 0.2 + 0.01 * np.arange(50)
    seen = line.copy()
    seen[[3, 4, 5, 20, 21, 30]] = np.nan

    assert whittaker(seen[None], 1e4)[0] == pytest.approx(line)
    assert savitzky_golay(seen[None], 7, 1)[0] == pytest.approx(line)


def test_nothing_is_made_up_outside_of_the_observations() -> None:
    seen = np.full((3, 9), np.nan)
    seen[0, 2:7] = 1.0
    seen[1, 4] = 1.0

    for smooth in (whittaker(seen, 10.0), savitzky_golay(seen, 3, 1)):
        np.testing.assert_array_equal(np.isfinite(smooth[0]), np.isfinite(seen[0]))
        assert np.isnan(smooth[1:]).all()


def test_observations_without_weight_are_gaps() -> None:
    seen = np.array([[0.0, 1.0, 50.0, 3.0, 4.0]])
    weights = np.array([[1.0, 1.0, 0.0, 1.0, np.nan]])

    smooth = whittaker(seen, 1.0, weights)[0]

    np.testing.assert_allclose(smooth[:4], [0, 1, 2, 3], atol=1e-9)
    assert np.isnan(smooth[4])


def test_savitzky_and_golay_fit_a_polynomial_in_each_window() -> None:
    y = np.random.default_rng(3).normal(size=21)

    smooth = savitzky_golay(y[None], 7, 2)[0]

    for middle in range(3, 18):
        around = np.arange(middle - 3, middle + 4)
        expected = Polynomial.fit(around, y[around], 2)(middle)
        assert smooth[middle] == pytest.approx(expected)


def test_a_series_shorter_than_the_window_has_one_of_its_length() -> None:
    y = np.array([0.0, 1.0, 4.0, 9.0])

    assert savitzky_golay(y[None], 11, 2)[0] == pytest.approx(y)
    assert savitzky_golay(y[None, :2], 11, 2)[0] == pytest.approx(y[:2])


@pytest.mark.parametrize(("window", "degree"), [(4, 2), (3, 3), (5, -1)])
def test_windows_that_fit_no_polynomial_are_refused(window: int, degree: int) -> None:
    with pytest.raises(ArgumentInvalid, match=f"window={window}"):
        savitzky_golay(np.zeros((1, 9)), window, degree)


def test_a_smoothness_that_is_none_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="smoothness=0"):
        whittaker(np.zeros((1, 9)), 0)
    with pytest.raises(ArgumentInvalid, match=r"values\[None\]"):
        whittaker(np.zeros(9), 1)
