"""Trigonometric and hyperbolic functions, in radians."""

from __future__ import annotations

from typing import Annotated

from terrazzo.cube import Number
from terrazzo.processes import kernels
from terrazzo.processes.operands import elementwise
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import NumberOrNull, Schema

_TRIGONOMETRIC = ("math > trigonometric",)

Sine = Annotated[Number, Schema({"type": ["number", "null"], "minimum": -1, "maximum": 1})]
NotNegative = Annotated[Number, Schema({"type": ["number", "null"], "minimum": 0})]
FromOne = Annotated[Number, Schema({"type": ["number", "null"], "minimum": 1})]
OpenUnit = Annotated[
    Number, Schema({"type": ["number", "null"], "minimumExclusive": -1, "maximumExclusive": 1})
]


@process("sin", Role.SCALAR, categories=_TRIGONOMETRIC)
def sin(x: NumberOrNull) -> Sine:
    """Sine of an angle, opposite side over hypotenuse.

    Args:
        x: angle in radians; no-data passes.

    Returns:
        -1..1; NaN for an infinite angle.

    Source:
        openEO process `sin` 2.0.0-rc.2.
    """
    return elementwise(kernels.sin, x)


@process("cos", Role.SCALAR, categories=_TRIGONOMETRIC)
def cos(x: NumberOrNull) -> Sine:
    """Cosine of an angle, adjacent side over hypotenuse.

    Args:
        x: angle in radians; no-data passes.

    Returns:
        -1..1; NaN for an infinite angle.

    Source:
        openEO process `cos` 2.0.0-rc.2.
    """
    return elementwise(kernels.cos, x)


@process("tan", Role.SCALAR, categories=_TRIGONOMETRIC)
def tan(x: NumberOrNull) -> NumberOrNull:
    """Tangent of an angle, sin(x) / cos(x).

    Args:
        x: angle in radians; no-data passes.

    Returns:
        Any number; NaN for an infinite angle.

    Source:
        openEO process `tan` 2.0.0-rc.2.
    """
    return elementwise(kernels.tan, x)


@process("arcsin", Role.SCALAR, categories=_TRIGONOMETRIC)
def arcsin(x: Sine) -> NumberOrNull:
    """Inverse sine, the angle of which sin(angle) = x.

    Args:
        x: -1..1; no-data passes.

    Returns:
        Radians, -pi/2..pi/2; NaN outside -1..1.

    Source:
        openEO process `arcsin` 2.0.0-rc.2.
    """
    return elementwise(kernels.arcsin, x)


@process("arccos", Role.SCALAR, categories=_TRIGONOMETRIC)
def arccos(x: Sine) -> NotNegative:
    """Inverse cosine, the angle of which cos(angle) = x.

    Args:
        x: -1..1; no-data passes.

    Returns:
        Radians, 0..pi; NaN outside -1..1.

    Source:
        openEO process `arccos` 2.0.0-rc.2.
    """
    return elementwise(kernels.arccos, x)


@process("arctan", Role.SCALAR, categories=_TRIGONOMETRIC)
def arctan(x: NumberOrNull) -> NumberOrNull:
    """Inverse tangent, the angle of which tan(angle) = x.

    Args:
        x: any number; no-data passes.

    Returns:
        Radians, -pi/2..pi/2.

    Source:
        openEO process `arctan` 2.0.0-rc.2.
    """
    return elementwise(kernels.arctan, x)


@process("arctan2", Role.SCALAR, categories=_TRIGONOMETRIC)
def arctan2(y: NumberOrNull, x: NumberOrNull) -> NumberOrNull:
    """Angle of a point seen from the origin, arctan(y / x) in the quadrant of the point.

    Args:
        y: ordinate of the point; no-data passes.
        x: abscissa, in the unit of `y`; no-data passes.

    Returns:
        Radians, -pi..pi.

    Source:
        openEO process `arctan2` 2.0.0-rc.2.
    """
    return elementwise(kernels.arctan2, y, x)


@process("sinh", Role.SCALAR, categories=_TRIGONOMETRIC)
def sinh(x: NumberOrNull) -> NumberOrNull:
    """Hyperbolic sine, (e ** x - e ** -x) / 2.

    Args:
        x: any number; no-data passes.

    Returns:
        Any number.

    Source:
        openEO process `sinh` 2.0.0-rc.2.
    """
    return elementwise(kernels.sinh, x)


@process("cosh", Role.SCALAR, categories=_TRIGONOMETRIC)
def cosh(x: NumberOrNull) -> FromOne:
    """Hyperbolic cosine, (e ** x + e ** -x) / 2.

    Args:
        x: any number; no-data passes.

    Returns:
        1 or more.

    Source:
        openEO process `cosh` 2.0.0-rc.2.
    """
    return elementwise(kernels.cosh, x)


@process("tanh", Role.SCALAR, categories=_TRIGONOMETRIC)
def tanh(x: NumberOrNull) -> OpenUnit:
    """Hyperbolic tangent, sinh(x) / cosh(x).

    Args:
        x: any number; no-data passes.

    Returns:
        -1..1.

    Source:
        openEO process `tanh` 2.0.0-rc.2.
    """
    return elementwise(kernels.tanh, x)


@process("arsinh", Role.SCALAR, categories=_TRIGONOMETRIC)
def arsinh(x: NumberOrNull) -> NumberOrNull:
    """Inverse hyperbolic sine, ln(x + sqrt(x ** 2 + 1)).

    Args:
        x: any number; no-data passes.

    Returns:
        Any number.

    Source:
        openEO process `arsinh` 2.0.0-rc.2.
    """
    return elementwise(kernels.arsinh, x)


@process("arcosh", Role.SCALAR, categories=_TRIGONOMETRIC)
def arcosh(x: NumberOrNull) -> NotNegative:
    """Inverse hyperbolic cosine, ln(x + sqrt(x ** 2 - 1)).

    Args:
        x: 1 or more; no-data passes.

    Returns:
        0 or more; NaN below x = 1.

    Source:
        openEO process `arcosh` 2.0.0-rc.2.
    """
    return elementwise(kernels.arcosh, x)


@process("artanh", Role.SCALAR, categories=_TRIGONOMETRIC)
def artanh(x: OpenUnit) -> NumberOrNull:
    """Inverse hyperbolic tangent, ln((1 + x) / (1 - x)) / 2.

    Args:
        x: -1..1; no-data passes.

    Returns:
        Any number; infinite at -1 and 1, NaN beyond.

    Source:
        openEO process `artanh` 2.0.0-rc.2.
    """
    return elementwise(kernels.artanh, x)
