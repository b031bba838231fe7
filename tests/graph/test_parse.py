from __future__ import annotations

import json

import pytest
from tests.graph.cases import SPECS, given, node, problem, problems, ref

from terrazzo.errors import GraphInvalid
from terrazzo.graph import Callback, Graph, Parameter, ProcessSpec, Ref, parse

TWO = {"a": node("load", id="s2"), "b": node("inspect", data=ref("a"), result=True)}
WRAPPINGS = {
    "$": TWO,
    "$.process_graph": {"process_graph": TWO, "parameters": []},
    "$.process.process_graph": {"title": "x", "process": {"process_graph": TWO}},
}


def read(document: object, **options: object) -> Graph:
    return parse(document, specs=SPECS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("document", WRAPPINGS.values())
def test_every_wrapping_gives_the_same_graph(document: dict) -> None:
    text = json.dumps(document, indent=3)

    graphs = {read(document), read(text), read(text.encode()), read("\ufeff" + text)}

    assert graphs == {read(TWO)}


@pytest.mark.parametrize(("path", "document"), WRAPPINGS.items())
def test_paths_begin_at_the_root_of_the_document(path: str, document: dict) -> None:
    text = json.dumps(document).replace('"s2"', "5")

    found = problem(text)

    assert (found.path, found.node) == (f"{path}.a.arguments.id", "a")


@pytest.mark.parametrize("name", ["process", "process_graph", "parameters"])
def test_a_node_may_be_called_like_a_wrapping(name: str) -> None:
    graph = read({name: node("load", id="s2")})

    assert graph.result == name


@pytest.mark.parametrize(
    "document",
    [{}, {"process_graph": {}}, {"process": {}}, {"process": None}, {"process_graph": 1}],
)
def test_a_document_without_a_graph_is_told_so(document: dict) -> None:
    assert problem(document).code == "ProcessGraphMissing"


def test_nodes_are_in_topological_order_and_values_are_frozen() -> None:
    document = {
        "late": node("list", data=[ref("early"), {"deep": [ref("early"), 1.5]}], result=True),
        "early": node("load", id="s2"),
    }

    graph = read(document)

    assert [each.id for each in graph] == ["early", "late"]
    assert graph["late"].refs == ("early",)
    data = graph["late"].arguments["data"]
    assert isinstance(data, tuple)
    assert data[0] == Ref("early")
    assert hash(graph["late"].arguments) is not None
    with pytest.raises(AttributeError):
        graph["late"].arguments.x = 1  # type: ignore[attr-defined]


def test_the_way_out_is_part_of_the_message() -> None:
    document = {"a": node("laod", id="s2"), "b": node("inspect", data=ref("aa"), result=True)}

    process, missing = problems(document)

    assert (process.code, process.path) == ("ProcessUnsupported", "$.a.process_id")
    assert "Did you mean 'load'?" in process.message
    assert (missing.code, missing.path) == ("ProcessGraphInvalid", "$.b.arguments.data.from_node")
    assert "Did you mean 'a'?" in missing.message


def test_all_problems_are_told_at_once() -> None:
    document = {
        "odd id": node("load", idd="s2"),
        "sum": node("add", x="one", y=2),
        "typo": 7,
        "nameless": {"arguments": {}},
        "open": {"process_id": "inspect"},
    }

    found = {(each.code, each.path) for each in problems(document)}

    assert found == {
        ("ProcessParameterUnsupported", "$['odd id'].arguments.idd"),
        ("ProcessParameterRequired", "$['odd id'].arguments.id"),
        ("ProcessParameterInvalid", "$.sum.arguments.x"),
        ("ProcessGraphInvalid", "$.typo"),
        ("ProcessGraphInvalid", "$.nameless"),
        ("ProcessGraphInvalid", "$.open"),
        ("ProcessGraphInvalid", "$"),
    }


@pytest.mark.parametrize(
    ("arguments", "words", "path"),
    [
        ('"x": NaN', "NaN", "$.a.arguments.x"),
        ('"x": [-1e999]', "Infinity", "$.a.arguments.x[0]"),
        (f'"x": {"9" * 5000}', "Infinity", "$.a.arguments.x"),
        (f'"x": {"9" * 310}', "too large", "$.a.arguments.x"),
        ('"x": 1, "x": 2', "'x'", "$.a.arguments.x"),
    ],
)
def test_values_that_are_no_proper_json_are_refused(arguments: str, words: str, path: str) -> None:
    found = problem(f'{{"a": {{"process_id": "number", "arguments": {{{arguments}}}}}}}')

    assert (found.code, found.path, found.node) == ("ProcessGraphInvalid", path, "a")
    assert words in found.message


@pytest.mark.parametrize(
    ("text", "words", "path"),
    [
        ('{"a": \n {,}}', "line 2, column 3", "$"),
        ("[]", "JSON object", "$"),
        ("", "Not JSON", "$"),
        (b"\xff", "UTF-8", "$"),
    ],
)
def test_text_that_is_no_proper_json_is_refused(text: str | bytes, words: str, path: str) -> None:
    found = problem(text)

    assert found.path == path
    assert words in found.message


def test_python_objects_are_refused() -> None:
    found = problem({"a": node("number", x={"when": object()})})

    assert found.path == "$.a.arguments.x.when"
    assert "object is not a JSON value" in found.message


def test_results_are_exactly_one() -> None:
    none = {"a": node("load", id="x"), "b": node("load", id="y")}
    both = {name: each | {"result": True} for name, each in none.items()}
    inner = {"process_graph": none}

    assert "No node is the result" in problem(none).message
    assert "'a', 'b'" in problem(both).message
    found = problem(
        {"r": node("apply", data=given("d"), process=inner)}, parameters={"d": {"type": "x"}}
    )
    assert (found.node, found.path) == ("r", "$.r.arguments.process.process_graph")


def test_a_cycle_is_named_whole() -> None:
    document = {
        "a": node("inspect", data=ref("c")),
        "b": node("inspect", data=[ref("a")]),
        "c": node("inspect", data=ref("b")),
        "self": node("inspect", data=ref("self"), result=True),
    }

    first, second = problems(document)

    assert "a -> c -> b -> a" in first.message
    assert (first.node, first.path) == ("a", "$.a.arguments.data")
    assert "self -> self" in second.message


def test_callbacks_know_their_parameters_and_the_outer_ones() -> None:
    inner = {"m": node("mean", data=given("data"), strict=given("limit"))}
    cloud = {"process_graph": {"l": node("number", x=given("value"))}}
    document = {
        "a": node("load", id="s2", filters={"cloud": cloud}),
        "r": node("reduce", data=ref("a"), reducer={"process_graph": inner}, result=True),
    }

    graph = read(document, allow_free_parameters=True)

    reducer = graph["r"].arguments["reducer"]
    assert isinstance(reducer, Callback)
    assert reducer.parameters == ("data", "context")
    assert reducer.graph.parameters == ("data", "limit")
    assert graph.parameters == ("limit",)
    found = problem(document)
    assert found.path == "$.r.arguments.reducer.process_graph.m.arguments.strict.from_parameter"
    assert found.node == "m"


def test_callbacks_cannot_reach_outer_nodes() -> None:
    inner = {"m": node("mean", data=ref("a"))}
    document = {
        "a": node("load", id="s2"),
        "r": node("reduce", data=ref("a"), reducer={"process_graph": inner}, result=True),
    }

    found = problem(document)

    assert "outside" in found.message
    assert found.path == "$.r.arguments.reducer.process_graph.m.arguments.data.from_node"


@pytest.mark.parametrize("reducer", ["mean", {"mean": {}}, ref("a"), None, {"process_graph": 1}])
def test_a_callback_must_be_a_process_graph(reducer: object) -> None:
    document = {
        "a": node("load", id="s2"),
        "r": node("reduce", data=ref("a"), reducer=reducer, result=True),
    }

    found = problem(document)

    assert (found.code, found.path) == ("ProcessParameterInvalid", "$.r.arguments.reducer")


def test_parameters_take_the_supplied_value_then_the_default() -> None:
    document = {
        "process_graph": {"a": node("add", x=given("x"), y=given("y"))},
        "parameters": [
            {"name": "x", "schema": {"type": "number"}},
            {"name": "y", "schema": {"type": "number"}, "optional": True, "default": 2},
        ],
    }

    assert read(document, parameters={"x": 1}) == read({"a": node("add", x=1, y=2)})
    assert read(document, parameters={"x": 1, "y": 3}) == read({"a": node("add", x=1, y=3)})
    free = read(document, allow_free_parameters=True)
    assert free["a"].arguments["x"] == Parameter("x")
    assert free.parameters == ("x",)
    missing = problem(document)
    assert (missing.code, missing.path) == ("ProcessParameterRequired", "$.parameters[0]")
    wrong = problem(document, parameters={"x": "one"})
    assert (wrong.code, wrong.path) == ("ProcessParameterInvalid", "$.parameters[0]")


@pytest.mark.parametrize("value", [ref("a"), given("x"), float("nan"), {1: 2}, object()])
def test_supplied_values_are_plain_json(value: object) -> None:
    found = problem({"a": node("number", x=given("x"))}, parameters={"x": value})

    assert found.path == "$"
    assert "supplied for parameter 'x'" in found.message


def test_a_wrong_value_is_told_where_the_document_has_it() -> None:
    box = {"west": 1, "east": "two"}

    direct = problem({"a": node("load", id="s2", extent=box)})
    given_box = problem({"a": node("load", id="s2", extent=given("box"))}, parameters={"box": box})

    assert direct.path == "$.a.arguments.extent.east"
    assert given_box.path == "$.a.arguments.extent"
    assert 'the string "two"' in given_box.message


def test_namespaces_are_backend_and_user() -> None:
    there = {"a": node("load", id="s2") | {"namespace": "backend"}}
    elsewhere = {"a": node("load", id="s2") | {"namespace": "https://example.org"}}
    user = {"a": node("load", id="s2") | {"namespace": "user"}}

    assert read(there) == read({"a": node("load", id="s2")})
    assert problem(elsewhere).path == "$.a.namespace"
    assert problem(user).code == "ProcessUnsupported"


def test_equal_nodes_are_merged_into_the_first_unless_they_act() -> None:
    document = {
        "use": node("list", data=[ref("y"), ref("x")], result=True),
        "x": node("load", id="s2"),
        "y": node("load", id="s2", extent=None),
        "s": node("save_result", data=ref("x")),
        "t": node("save_result", data=ref("y")),
    }

    graph = read(document)

    assert {each.id for each in graph} == {"use", "x", "s", "t"}
    assert graph["use"].refs == ("x",)
    assert graph["t"].refs == ("x",)
    assert set(graph.sinks) == {"use", "s", "t"}
    assert graph["s"].digest == graph["t"].digest


def test_official_examples_parse_and_return(shared) -> None:
    folder = shared / "openeo"
    files = sorted(folder.glob("specs/**/*.json"))
    documents = [json.loads(file.read_text()) for file in files]
    specs = {each["id"]: ProcessSpec.from_json(each) for each in documents}
    # rc.2 writes `process-graph` for `process_graph` in the graph of `variance`.
    defined = [each for each in documents if "process_graph" in each and each["id"] != "variance"]

    for document in defined:
        graph = parse(document, specs=specs, allow_free_parameters=True)
        again = parse(graph.to_json(), specs=specs, allow_free_parameters=True)
        assert again == graph

    variance = next(each for each in documents if each["id"] == "variance")
    with pytest.raises(GraphInvalid, match="must be a callback"):
        parse(variance, specs=specs, allow_free_parameters=True)


@pytest.mark.parametrize(
    "graph",
    [
        '{"a": {"process_id": "number", "arguments": {"x": "\\ud800"}, "result": true}}',
        '{"\\udfff": {"process_id": "number", "arguments": {"x": 1}, "result": true}}',
    ],
)
def test_texts_that_cannot_be_written_are_refused_in_words_that_can(graph: str) -> None:
    with pytest.raises(GraphInvalid, match="half of a character") as refused:
        parse(graph, specs=SPECS)

    str(refused.value).encode()


def test_pairs_of_surrogates_are_characters() -> None:
    graph = '{"a": {"process_id": "number", "arguments": {"x": "\\ud83d\\ude00"}, "result": true}}'

    assert parse(graph, specs=SPECS)["a"].arguments["x"] == "\U0001f600"
