"""Least squares, many small problems side by side: every pixel has its own.

A model is a function of parameters, and of places that are the same for all pixels. If it is
affine in its parameters the best ones are computed at once, else by Levenberg's and Marquardt's
iteration. Every pixel goes its own way through it and stops by itself, and sums run in the order
of the observations, so that its numbers do not depend on the pixels around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truths = NDArray[np.bool_]
    Model = Callable[[Floats], Floats]

STEPS = 100
"""Most steps of an iteration."""
SAME = 1e-9
"""Share of its terms within which a model is what its affine form says."""
ORTHOGONAL = 1e-10
"""Cosine between residuals and what parameters could change of them that counts as a right angle
(relative offset; Bates and Watts 1981); noise of derivatives is smaller."""
ALMOST = 1e-6
"""The same where no step makes residuals smaller: rounding hides what is left."""
ROUNDING = 1e-13
"""Share of the observations that a change of the model must reach."""
SINGULAR = 1e-13
"""Share of a column that must be new for the ones before it to leave it a meaning."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 0.1, 1e-8, 1e12
"""How much a first step is damped; what is less is none; and what is more leads nowhere."""
LEAST_GAIN, POOR_GAIN, GOOD_GAIN = 1e-4, 0.25, 0.75
"""Shares of the reduction that a linear model promises: to take a step; to damp the next one more;
to damp it less."""
DIFFERENCE = float(np.finfo(np.float64).eps) ** (1 / 3)
"""Step of central differences, as share of a parameter: its square and its rounding are small."""


def fitted(model: Model, observed: Floats, used: Truths, guess: Floats) -> tuple[Floats, Truths]:
    """Return the parameters with which a model comes nearest to the observations of every pixel.

    Args:
        model: returns (observation, k) numbers for (parameter, k) parameters, column by column;
            NaN where it has none.
        observed: (observation, pixel) numbers.
        used: like `observed`; True for those that count.
        guess: (parameter, pixel) where to begin. Its size is the scale on which a parameter is
            varied; 0 counts as 1.

    Returns:
        (parameter, pixel) parameters, and (pixel,) whether they were found: not so with fewer
        observations than parameters, with any that is not finite, or without convergence.

    Source:
        Levenberg 1944, Quarterly of Applied Mathematics 2, 164-168; Marquardt 1963, SIAM Journal
        11, 431-441; Moré 1978, Lecture Notes in Mathematics 630, 105-116; Bates and Watts 1981,
        Technometrics 23, 179-183.
    """
    count = np.zeros(observed.shape[1], np.int64)
    sound = np.zeros(observed.shape[1], np.bool_)
    _count(observed, used, count, sound)
    ready = np.flatnonzero(sound & (count >= len(guess)))
    parameters, found = guess.copy(), np.zeros(len(count), np.bool_)
    if not ready.size:
        return parameters, found
    mine = _Problem(model, observed, used, guess).at(ready)
    with np.errstate(all="ignore"):  # a model may overflow at some pixels: it then fits nothing
        best, good = _direct(mine)
        left = np.flatnonzero(~good)
        if left.size:
            best[:, left], good[left] = _iterated(mine.at(left))
    parameters[:, ready], found[ready] = best, good
    return parameters, found


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What is to be fitted to what, for some pixels."""

    model: Model
    observed: Floats
    """(observation, pixel)."""
    used: Truths
    """(observation, pixel)."""
    guess: Floats
    """(parameter, pixel)."""

    def at(self, chosen: NDArray[np.intp]) -> _Problem:
        """Return the problem of some of the pixels."""
        held = (_at(array, chosen) for array in (self.observed, self.used, self.guess))
        return _Problem(self.model, *held)

    def residuals(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return what the model has too much, 0 where nothing counts, and its sum of squares."""
        with np.errstate(invalid="ignore", over="ignore"):
            rest = np.where(self.used, self.model(parameters) - self.observed, 0.0)
        cost = np.zeros(rest.shape[1])
        _squares(rest, cost)
        return rest, cost


def _direct(problem: _Problem) -> tuple[Floats, Truths]:
    """Solve a model that is affine in its parameters; say for which pixels that was right."""
    parameters, good = problem.guess.copy(), np.zeros(problem.guess.shape[1], np.bool_)
    base, design = _affine(problem.model, len(parameters))
    if not design.size:
        return parameters, good
    _solve(design, base, problem.observed, problem.used, parameters, good)
    at = problem.model(parameters)
    told, terms = np.empty(at.shape), np.empty(at.shape)
    _predict(design, base, parameters, told, terms)
    # What is not affine everywhere may have looked so where it was tried.
    with np.errstate(invalid="ignore", over="ignore"):
        same = (np.abs(at - told) <= SAME * terms) | ~problem.used
    return parameters, good & same.all(0)


def _affine(model: Model, count: int) -> tuple[Floats, Floats]:
    """Return a model's constants (observation,) and factors (observation, parameter), if any.

    The factors are empty if the model is not affine where it was tried. What is tried is the
    same for all pixels.
    """
    spread = np.arange(1, count + 1) * 0.6180339887498949 % 1.0 - 0.5
    tried = np.stack([spread, -3.0 * spread[::-1], 1000.0 * spread], 1)
    at = model(np.concatenate([np.zeros((count, 1)), np.eye(count), tried], 1))
    base = np.ascontiguousarray(at[:, 0])
    with np.errstate(invalid="ignore", over="ignore"):
        design = np.ascontiguousarray(at[:, 1 : count + 1] - base[:, np.newaxis])
        told, terms = np.empty((len(at), 3)), np.empty((len(at), 3))
        _predict(design, base, tried, told, terms)
        same = np.abs(at[:, count + 1 :] - told) <= SAME * terms
    return base, design if bool(same.all()) else design[:, :0]


def _iterated(problem: _Problem) -> tuple[Floats, Truths]:
    """Fit a model step by step; every pixel is damped, and stops, by itself."""
    parameters = problem.guess.copy()
    scale = np.where(parameters == 0, 1.0, np.abs(parameters))
    count, pixels = parameters.shape
    rest, cost = problem.residuals(parameters)
    size = np.zeros(pixels)
    _squares(np.where(problem.used, problem.observed, 0.0), size)
    upper, turned = np.zeros((count, count, pixels)), np.zeros((count, pixels))
    weights, damping = np.zeros((count, pixels)), np.full(pixels, FIRST_DAMPING)
    moved, refused = np.ones(pixels, np.bool_), np.zeros(pixels, np.bool_)
    found = np.zeros(pixels, np.bool_)
    active = np.flatnonzero(np.isfinite(cost))
    for _ in range(STEPS):
        new = active[moved[active]]
        if new.size:
            here = problem.at(new)
            slopes = _slopes(here, _at(parameters, new), _at(scale, new))
            parts = _at(upper, new), _at(turned, new), _at(weights, new)
            _factor(slopes, _at(rest, new), *parts)
            upper[:, :, new], turned[:, new], weights[:, new] = parts
        reach = np.zeros(pixels)
        _squares(turned, reach)
        with np.errstate(invalid="ignore"):
            enough = np.where(refused, ALMOST, ORTHOGONAL) * np.sqrt(cost)
            found[active] = (np.sqrt(reach) <= enough + ROUNDING * np.sqrt(size))[active]
        active = active[~found[active] & (damping[active] <= MOST_DAMPING)]
        if not active.size:
            break
        step, promised = np.zeros((count, active.size)), np.zeros(active.size)
        kept = _at(upper, active), _at(turned, active), _at(weights, active)
        _damped(*kept, damping[active], step, promised)
        there = _at(parameters, active) + step
        rest_there, cost_there = problem.at(active).residuals(there)
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = (cost[active] - cost_there) / promised
        better = gain > LEAST_GAIN
        taken = active[better]
        parameters[:, taken], cost[taken] = there[:, better], cost_there[better]
        rest[:, taken] = rest_there[:, better]
        moved[active], refused[active] = better, ~better
        less, more = active[gain > GOOD_GAIN], active[~(gain >= POOR_GAIN)]
        damping[less] *= np.where(damping[less] * 0.1 < LEAST_DAMPING, 0.0, 0.1)
        damping[more] = np.maximum(damping[more] * 10.0, FIRST_DAMPING)
    return parameters, found


def _slopes(problem: _Problem, parameters: Floats, scale: Floats) -> Floats:
    """Return derivatives by central differences, (parameter, observation, pixel)."""
    slopes = np.zeros((len(parameters), *problem.observed.shape))
    for number in range(len(parameters)):
        width = DIFFERENCE * np.maximum(np.abs(parameters[number]), scale[number])
        above, below = parameters.copy(), parameters.copy()
        above[number], below[number] = parameters[number] + width, parameters[number] - width
        with np.errstate(invalid="ignore", over="ignore"):
            change = problem.model(above) - problem.model(below)
            slopes[number] = change / (above[number] - below[number])
    return np.where(problem.used, slopes, 0.0)


def _at(array: NDArray[Any], chosen: NDArray[np.intp]) -> NDArray[Any]:
    """Return some pixels of an array, in the one layout that kernels are compiled for."""
    return np.take(array, chosen, axis=-1)


@jit
def _count(observed: Any, used: Any, count: Any, sound: Any) -> None:
    """Write how many observations count, and whether all of those are finite."""
    for i in range(count.size):
        sound[i] = True
        for t in range(observed.shape[0]):
            if used[t, i]:
                count[i] += 1
                sound[i] = sound[i] and math.isfinite(observed[t, i])


@jit
def _squares(values: Any, total: Any) -> None:
    """Add up the squares of every column; a sum that is not finite becomes infinite."""
    for i in range(total.size):
        found = 0.0
        for t in range(values.shape[0]):
            found += values[t, i] * values[t, i]
        total[i] = found if math.isfinite(found) else np.inf


@jit
def _predict(design: Any, base: Any, parameters: Any, told: Any, terms: Any) -> None:
    """Write what an affine model says, and the sum of its terms without their signs."""
    for t in range(told.shape[0]):
        for i in range(told.shape[1]):
            value, size = base[t], abs(base[t])
            for j in range(design.shape[1]):
                term = design[t, j] * parameters[j, i]
                value += term
                size += abs(term)
            told[t, i], terms[t, i] = value, size


@jit
def _triangular(matrix: Any, side: Any, rows: int) -> None:
    """Turn a matrix into a triangle by Householder's reflections, and `side` with it."""
    for j in range(min(rows, matrix.shape[1])):
        norm = 0.0
        for t in range(j, rows):
            norm += matrix[t, j] * matrix[t, j]
        norm = math.sqrt(norm)
        if norm == 0.0:
            continue
        if matrix[j, j] > 0.0:
            norm = -norm
        # The reflection's vector is left in the column, below and on the diagonal.
        matrix[j, j] -= norm
        half = -norm * matrix[j, j]
        for c in range(j + 1, matrix.shape[1]):
            dot = 0.0
            for t in range(j, rows):
                dot += matrix[t, j] * matrix[t, c]
            dot /= half
            for t in range(j, rows):
                matrix[t, c] -= dot * matrix[t, j]
        dot = 0.0
        for t in range(j, rows):
            dot += matrix[t, j] * side[t]
        dot /= half
        for t in range(j, rows):
            side[t] -= dot * matrix[t, j]
        matrix[j, j] = norm


@jit
def _back(matrix: Any, side: Any, lengths: Any, solution: Any) -> bool:
    """Solve a triangle from below; False where a column adds nothing to those before it."""
    count = solution.size
    for j in range(count):
        if not abs(matrix[j, j]) > SINGULAR * lengths[j]:
            return False
    for back in range(count):
        j = count - 1 - back
        value = side[j]
        for c in range(j + 1, count):
            value -= matrix[j, c] * solution[c]
        solution[j] = value / matrix[j, j]
    return True


@jit
def _solve(design: Any, base: Any, observed: Any, used: Any, parameters: Any, good: Any) -> None:
    """Write the least squares solution of an affine model for every pixel that has one."""
    rows, count = design.shape
    matrix, side = np.empty((rows, count)), np.empty(rows)
    lengths, solution = np.empty(count), np.empty(count)
    for i in range(good.size):
        kept = 0
        for t in range(rows):
            if used[t, i]:
                for j in range(count):
                    matrix[kept, j] = design[t, j]
                side[kept] = observed[t, i] - base[t]
                kept += 1
        for j in range(count):
            lengths[j] = 0.0
            for t in range(kept):
                lengths[j] += matrix[t, j] * matrix[t, j]
            lengths[j] = math.sqrt(lengths[j])
        _triangular(matrix, side, kept)
        if _back(matrix, side, lengths, solution):
            good[i] = True
            for j in range(count):
                parameters[j, i] = solution[j]


@jit
def _factor(slopes: Any, rest: Any, upper: Any, turned: Any, weights: Any) -> None:
    """Write the triangle of the derivatives, the residuals turned with them, and their lengths.

    Args:
        slopes: (parameter, observation, pixel) derivatives.
        rest: (observation, pixel) residuals.
        upper: (parameter, parameter, pixel), written.
        turned: (parameter, pixel), written.
        weights: (parameter, pixel) the longest so far, written.
    """
    count, rows, pixels = slopes.shape
    matrix, side = np.empty((rows, count)), np.empty(rows)
    for i in range(pixels):
        for t in range(rows):
            side[t] = rest[t, i]
            for j in range(count):
                matrix[t, j] = slopes[j, t, i]
        for j in range(count):
            length = 0.0
            for t in range(rows):
                length += matrix[t, j] * matrix[t, j]
            weights[j, i] = max(weights[j, i], math.sqrt(length))
        _triangular(matrix, side, rows)
        for j in range(count):
            turned[j, i] = side[j]
            for c in range(count):
                upper[j, c, i] = matrix[j, c] if c >= j else 0.0


@jit
def _damped(upper: Any, turned: Any, weights: Any, damping: Any, step: Any, promised: Any) -> None:
    """Write the step of every pixel, the shorter the more it is damped, and what it promises."""
    count, pixels = step.shape
    matrix, side = np.empty((2 * count, count)), np.empty(2 * count)
    lengths, solution = np.empty(count), np.empty(count)
    for i in range(pixels):
        amount = damping[i]
        while True:
            for j in range(count):
                side[j], side[count + j] = -turned[j, i], 0.0
                lengths[j] = weights[j, i] if weights[j, i] > 0.0 else 1.0
                for c in range(count):
                    matrix[j, c] = upper[j, c, i]
                    matrix[count + j, c] = 0.0
                matrix[count + j, j] = math.sqrt(amount) * lengths[j]
            _triangular(matrix, side, 2 * count)
            if _back(matrix, side, lengths, solution):
                for j in range(count):
                    step[j, i] = solution[j]
                    rest = turned[j, i]
                    for c in range(j, count):
                        rest += upper[j, c, i] * solution[c]
                    promised[i] += turned[j, i] * turned[j, i] - rest * rest
                break
            if not amount < FIRST_DAMPING:
                for j in range(count):
                    step[j, i] = np.nan
                break
            amount = FIRST_DAMPING
