from __future__ import annotations

import json

import pytest
from tests.graph.cases import BOX, CUBE, callback

from terrazzo.graph import (
    FrozenMap,
    Parameter,
    ParameterSpec,
    ProcessSpec,
    Ref,
    callback_parameters,
    mismatches,
)
from terrazzo.graph.spec import inner_schema


@pytest.mark.parametrize(
    ("schema", "fits", "fails", "words"),
    [
        ({"type": "string"}, "a", 1, "must be a string, not the number 1"),
        ({"type": ["number", "null"]}, None, "a", "a number or null"),
        ({"type": "number"}, 1.5, True, "not the boolean true"),
        ({"type": "integer"}, 2.0, 2.5, "an integer"),
        ({"type": "boolean"}, False, 0, "a boolean"),
        ({"type": "null"}, None, 0, "null"),
        ({"type": "array"}, (), FrozenMap(), "an array"),
        ({"type": "object"}, FrozenMap(), (), "an object"),
        ({"enum": ["a", 1]}, 1, True, 'one of "a", 1'),
        ({"const": 0}, 0.0, False, "must be 0"),
        ({"minItems": 2}, (1, 2), (1,), "at least 2"),
        ({"maxItems": 1}, (1,), (1, 2), "at most 1"),
        ({"minimum": 0}, 0, -1, "at least 0"),
        ({"maximum": 0}, 0, 1, "at most 0"),
        ({"pattern": "^a"}, "ab", "ba", "pattern"),
        ({"uniqueItems": True}, (1, True), (1, 1.0), "repeats element 0"),
        ([{"type": "string"}, {"type": "null"}], None, 1, "a string or null"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, 1.5, "a string or an integer"),
        ({"oneOf": [{"type": "number"}, {"minimum": 1}]}, 1, 0, ""),
        (BOX, FrozenMap({"west": 1, "east": 2}), FrozenMap({"west": 1}), "lacks 'east'"),
        ({"additionalProperties": False}, FrozenMap(), FrozenMap({"a": 1}), "not known"),
        (CUBE, FrozenMap({"type": "FeatureCollection"}), FrozenMap(), "a data cube"),
        (callback("x"), Parameter("x"), Ref("a"), "a callback"),
        ({}, FrozenMap(), None, ""),
    ],
)
def test_schemas_are_checked(schema: object, fits: object, fails: object, words: str) -> None:
    assert mismatches(fits, schema) == []  # type: ignore[arg-type]
    if words:
        (found,) = mismatches(fails, schema)  # type: ignore[arg-type]
        assert words in found.reason


def test_the_inner_value_is_named() -> None:
    schema = {"type": "array", "items": [BOX, {"type": "null"}]}
    value = (None, FrozenMap({"west": "a", "east": "b"}))

    assert [each.keys for each in mismatches(value, schema)] == [(1, "west"), (1, "east")]


def test_values_not_known_yet_fit_everywhere() -> None:
    schema = {"type": "array", "items": {"type": "number"}, "uniqueItems": True}

    assert mismatches((Ref("a"), Ref("a"), Parameter("p")), schema) == []
    assert mismatches(Ref("a"), {"type": "string"}) == []


def test_callback_parameters_are_found_where_they_are() -> None:
    nested = {"additionalProperties": [callback("value"), {"type": "null"}]}

    assert callback_parameters(callback("x", "y")) == ("x", "y")
    assert callback_parameters(inner_schema(nested, "any")) == ("value",)
    assert callback_parameters({"type": "string"}) is None


def test_descriptions_survive_a_round_trip() -> None:
    spec = ProcessSpec(
        "p",
        "s",
        "d",
        ("maths",),
        (
            ParameterSpec("x", "dx", {"type": "number"}),
            ParameterSpec("y", "dy", {}, optional=True, default=3, deprecated=True),
        ),
        {"description": "r", "schema": {}},
        {"Failed": {"message": "m"}},
        experimental=True,
        links=({"href": "https://example.org", "rel": "about"},),
    )

    document = spec.to_json()

    assert ProcessSpec.from_json(json.loads(json.dumps(document))) == spec
    assert list(spec.by_name) == ["x", "y"]
    assert "optional" not in document["parameters"][0]
    assert document["parameters"][1]["default"] == 3


def test_official_descriptions_survive_a_round_trip(shared) -> None:
    for file in sorted((shared / "openeo" / "specs").glob("**/*.json")):
        document = json.loads(file.read_text())
        for parameter in document["parameters"]:
            # Said or not, this is the default; and one stray keyword in `arcosh`.
            if parameter.get("optional"):
                parameter.setdefault("default", None)
            parameter.pop("minimum", None)

        assert ProcessSpec.from_json(document).to_json() == document
