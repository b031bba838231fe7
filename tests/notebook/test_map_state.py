"""Changes that kernel and browser exchange."""

from __future__ import annotations

from terrazzo.notebook.map_state import merged, new_state


def layer(key: str, **members: object) -> dict[str, object]:
    return {"key": key, "kind": "raster", "name": key, "opacity": 1.0, **members}


def state_of(*keys: str):
    return {**new_state("EPSG:3857", "none"), "layers": [layer(key) for key in keys]}


def test_a_layer_added_here_survives_a_change_that_the_browser_made_before_it_knew():
    here = merged(state_of("a"), {"layers": {"set": {"b": layer("b")}}})
    changed = {"set": {"a": {"opacity": 0.5}}, "order": ["a"]}
    seen = {"view": {"centre": [1, 2], "zoom": 3}, "layers": changed}

    both = merged(here, seen)

    assert [one["key"] for one in both["layers"]] == ["a", "b"]
    assert both["layers"][0]["opacity"] == 0.5
    assert both["view"]["zoom"] == 3


def test_layers_go_and_change_their_order():
    state = merged(state_of("a", "b", "c"), {"layers": {"gone": ["b"], "order": ["c", "a"]}})

    assert [one["key"] for one in state["layers"]] == ["c", "a"]


def test_a_change_of_a_layer_that_is_gone_does_not_bring_it_back():
    state = merged(state_of("a"), {"layers": {"set": {"gone": {"opacity": 0.1}}}})

    assert [one["key"] for one in state["layers"]] == ["a"]


def test_what_was_merged_is_left_as_it_was():
    before = state_of("a")

    merged(before, {"time": "2018-01-01", "layers": {"set": {"a": {"opacity": 0.0}}}})

    assert before == state_of("a")


def test_members_that_are_none_of_a_state_are_left_out():
    assert merged(state_of("a"), {"surprise": 1, "layers": "none"}) == state_of("a")
