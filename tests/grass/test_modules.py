"""What modules may be given, and what is refused before GRASS hears of it."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from terrazzo.errors import ArgumentInvalid, BandNotFound
from terrazzo.grass import MODULES, call_of
from terrazzo.grass.expressions import FUNCTIONS, MOST_DEPTH, reach_of, read_expression

REFUSED: dict[str, tuple[Any, Any, Any, Any, str]] = {
    "module": ("r.external", {}, "", None, "no module 'r.external'"),
    "shell": ("r.relief; touch /tmp/x", {}, "", None, "no module"),
    "parameter": ("r.neighbors", {"weight": "/etc/passwd"}, "", None, "no parameter 'weight'"),
    "map": ("r.slope.aspect", {"elevation": "other@PERMANENT"}, "", None, "maps are not named"),
    "output": ("r.slope.aspect", {"slope": "x"}, "", None, "no parameter 'slope'"),
    "file": ("r.neighbors", {"weighting_function": "file"}, "", None, "one of none, gaussian"),
    "word": ("r.slope.aspect", {"format": "percnt"}, "", None, "Did you mean 'percent'"),
    "text": ("r.neighbors", {"size": "3 output=x"}, "", None, "an odd number from 1 to 129"),
    "even": ("r.neighbors", {"size": 4}, "", None, "odd number"),
    "truth": ("r.neighbors", {"size": True}, "", None, "odd number"),
    "large": ("r.neighbors", {"size": 131}, "", None, "from 1 to 129"),
    "fraction": ("r.watershed", {"threshold": 1.5}, "", None, "whole number"),
    "nan": ("r.relief", {"azimuth": float("nan")}, "", None, "a number from 0 to 360"),
    "flag": ("r.watershed", {}, "m", None, "flags s, 4, a, b"),
    "unknown output": ("r.watershed", {}, "", ["acumulation"], "Did you mean 'accumulation'"),
    "twice": ("r.watershed", {}, "", ["basin", "basin"], "once each"),
    "none": ("r.watershed", {}, "", [], "once each"),
    "endless": ("r.slope.aspect", {"zscale": 10**400}, "", None, "to 1e+09, not one so long"),
    "endless size": ("r.neighbors", {"size": 10**5000}, "", None, "from 1 to 129"),
    "endless float": ("r.neighbors", {"size": float("inf")}, "", None, "from 1 to 129"),
    "many cores": ("r.neighbors", {"nprocs": 65}, "", None, "a whole number from 1 to 64"),
    "lists": ("r.slope.aspect", {}, "", [["x"]], "a list of texts"),
    "one output": ("r.slope.aspect", {}, "", "slope", "a list of texts"),
    "flags": ("r.slope.aspect", {}, 5, None, "as texts"),
    "no name": (["r.relief"], {}, "", None, "as texts"),
    "parameters": ("r.relief", ["zscale"], "", None, "by name"),
    "no expression": ("r.mapcalc", {}, "", None, "takes one parameter"),
    "seed": ("r.mapcalc", {"expression": "a", "seed": 1}, "", None, "takes one parameter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_module_does_not_take_is_refused(case: str) -> None:
    name, parameters, flags, outputs, said = REFUSED[case]

    with pytest.raises(ArgumentInvalid, match=re.escape(said)):
        call_of(name, parameters, flags, outputs, ("a",))


def test_a_command_is_put_together_from_what_was_checked() -> None:
    parameters = {"format": "percent", "zscale": 2, "nprocs": 1}

    call = call_of("r.slope.aspect", parameters, "ne", ["aspect", "slope"])

    assert call.command == [
        "r.slope.aspect", "elevation=m0", "aspect=aspect", "slope=slope", "format=percent",
        "zscale=2.0", "nprocs=1", "-en",
    ]  # fmt: skip


def test_a_module_uses_no_more_cores_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})

    made = [call_of("r.neighbors", {"nprocs": count}).command[-1] for count in (1, 2, 64)]

    assert made == ["nprocs=1", "nprocs=2", "nprocs=3"]


def test_outputs_that_a_module_insists_on_are_made_too() -> None:
    call = call_of("r.fill.dir", {}, "", ["areas"])

    assert [output.key for output in call.outputs] == ["areas"]
    assert call.command[2:5] == ["output=output", "direction=direction", "areas=areas"]


def test_local_modules_say_how_far_they_look() -> None:
    reach = {name: m.reach({"expression": "a[-3,2]"}) for name, m in MODULES.items() if m.reach}

    assert reach == {
        "r.slope.aspect": 1,
        "r.relief": 1,
        "r.neighbors": 1,
        "r.mapcalc": 3,
    }


@pytest.mark.parametrize(
    ("text", "written", "bands"),
    [
        ("b - a", "(m1 - m0)", ("a", "b")),
        ("-a^2^3", "((-m0) ^ (2 ^ 3))", ("a",)),
        ("a+b*2 > 3 && !b", "(((m0 + (m1 * 2)) > 3) && (!m1))", ("a", "b")),
        ("if(isnull(b), 1e-3, b[-1, 2])", "if(isnull(m0), 1e-3, m0[-1,2])", ("b",)),
        ('a ? "B 04" : null()', "(m0 ? m1 : null())", ("a", "B 04")),
        ("a-b-a", "((m0 - m1) - m0)", ("a", "b")),
    ],
)
def test_expressions_are_written_anew(text: str, written: str, bands: tuple[str, ...]) -> None:
    read = read_expression(text, ("a", "b", "B 04"))

    assert (read.text, read.bands) == (written, bands)


@pytest.mark.parametrize(
    "text",
    [
        "", "a b", "a +", "a@PERMANENT", "x = a", "a; b", "a\nb = a", "rand(0, a)", "row() + a",
        "a[1.5,0]", "a[0,65]", "a[a,0]", "pow(a)", "eval(a, a)", "#a", "r#a", "$(touch x) + a",
        "`id` + a", "1 + 2", "(a", "a)", "a ? 1", '"a', "a" + " + a" * 2000,
        "(" * 100 + "a" + ")" * 100,
        "-" * 100 + "a", "2a", "a ^ " * 100 + "a", "abs", "a" + "[0,0]" * 2,
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        read_expression(text, ("a",))


@pytest.mark.parametrize("around", [("(", ")"), ("abs(", ")"), ("a ^ (", ")")])
def test_what_is_nested_as_deep_as_may_be_is_read_whoever_calls(around: tuple[str, str]) -> None:
    begin, end = around
    deep = [begin * count + "a" + end * count for count in range(1, MOST_DEPTH + 1)]
    allowed = [text for text in deep if text.count("(") + text.count("^") < MOST_DEPTH]

    def below(calls: int, text: str) -> int:
        return reach_of(text) if calls == 0 else below(calls - 1, text)

    assert [below(200, text) for text in allowed] == [0] * len(allowed)
    with pytest.raises(ArgumentInvalid, match=f"nested more than {MOST_DEPTH} deep"):
        below(200, deep[-1])


def test_a_band_that_is_not_there_is_named() -> None:
    with pytest.raises(BandNotFound, match="Did you mean 'B04'"):
        read_expression("B04 - BO4", ("B04", "B08"))


def test_neighbours_decide_the_reach() -> None:
    assert reach_of("a[-7,2] + b[0,9] - a[1]") == 9
    assert reach_of("a + 70") == 0


def test_no_function_looks_at_the_region_or_at_chance() -> None:
    assert not {"row", "col", "nrows", "ncols", "rand", "ewres", "area", "eval"} & FUNCTIONS.keys()
