"""What scalar processes refuse, one class per openEO exception that errors.py does not have."""

from __future__ import annotations

from terrazzo.errors import ArgumentInvalid


class MinMaxSwapped(ArgumentInvalid):
    """A lower bound lies above its upper bound."""

    code = "MinMaxSwapped"


class QuantilesParameterMissing(ArgumentInvalid):
    """Neither `probabilities` nor `q` was given."""

    code = "QuantilesParameterMissing"


class QuantilesParameterConflict(ArgumentInvalid):
    """Both `probabilities` and `q` were given."""

    code = "QuantilesParameterConflict"


class AscendingProbabilitiesRequired(ArgumentInvalid):
    """Probabilities do not ascend."""

    code = "AscendingProbabilitiesRequired"


class ArrayElementParameterMissing(ArgumentInvalid):
    """Neither `index` nor `label` was given."""

    code = "ArrayElementParameterMissing"


class ArrayElementParameterConflict(ArgumentInvalid):
    """Both `index` and `label` were given."""

    code = "ArrayElementParameterConflict"


class ArrayNotLabeled(ArgumentInvalid):
    """A label was given for an array without labels."""

    code = "ArrayNotLabeled"


class ArrayLabelConflict(ArgumentInvalid):
    """Two arrays that are joined share a label."""

    code = "ArrayLabelConflict"
