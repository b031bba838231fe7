"""Files of vectors, the errata that mend some of them, and the score that is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from terrazzo.processes import PROCESSES
from terrazzo.testing.vectors import (
    Outcome,
    Status,
    VectorFile,
    VectorsUnreadable,
    read_vectors,
    run_file,
    score,
)
from terrazzo.testing.vectors.__main__ import main
from terrazzo.testing.vectors.errata import ChangeInapplicable, Erratum, corrected, errata

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"arguments": {"x": 1, "y": 2}, "returns": 3}
WRONG = {"arguments": {"x": 1, "y": 2}, "returns": 4}
MENDED = ({"op": "replace", "path": "/returns", "value": 3},)


def folder_of(path: Path, **files: Any) -> Path:
    for name, tests in files.items():
        (path / f"{name}.json").write_text(json.dumps({"id": name, "tests": tests}))
    return path


def outcome(
    monkeypatch: pytest.MonkeyPatch,
    vector: dict[str, Any],
    *change: dict[str, Any],
    seen: bool = True,
    oracle: str = "",
) -> Outcome:
    """Run a vector of `add` for which there is an erratum."""
    erratum = Erratum("add", 0, "It is wrong.", change, seen)
    monkeypatch.setattr(score, "errata", lambda: {("add", 0): erratum})
    (found,) = run_file(VectorFile("add", ({"index": 0, **vector},), oracle)).outcomes
    return found


def test_a_vector_that_an_erratum_mends_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, WRONG, *MENDED)

    assert (found.status, found.raw) == (Status.CORRECTED, False)


def test_an_erratum_that_is_not_needed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    mended, left_out = outcome(monkeypatch, GOOD, *MENDED), outcome(monkeypatch, GOOD)

    for found in (mended, left_out):
        assert (found.status, found.raw) == (Status.FAILED, True)
        assert "passes as it is" in found.text


def test_an_erratum_that_does_not_mend_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrongly = outcome(monkeypatch, WRONG, {"op": "replace", "path": "/returns", "value": 5})
    nowhere = outcome(monkeypatch, WRONG, {"op": "remove", "path": "/arguments/z"})

    assert wrongly.status == nowhere.status == Status.FAILED
    assert "expected 5, got 3" in wrongly.text
    assert "does not apply" in nowhere.text


def test_a_vector_that_cannot_be_mended_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, WRONG)

    assert (found.status, found.text) == (Status.EXCUSED, "It is wrong.")


@pytest.mark.parametrize(
    ("vector", "change", "status"),
    [
        (GOOD, MENDED, Status.PASSED),
        (WRONG, MENDED, Status.CORRECTED),
        (WRONG, ({"op": "replace", "path": "/returns", "value": 5},), Status.EXCUSED),
        (WRONG, ({"op": "remove", "path": "/arguments/z"},), Status.EXCUSED),
        (WRONG, (), Status.EXCUSED),
    ],
)
def test_an_erratum_of_a_vector_that_was_not_at_hand_is_a_guess(
    monkeypatch: pytest.MonkeyPatch, vector: dict[str, Any], change: Any, status: Status
) -> None:
    assert outcome(monkeypatch, vector, *change, seen=False).status == status


def test_errata_are_not_of_own_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, WRONG, *MENDED, oracle="counted by hand")

    assert found.status == Status.FAILED


def test_errata_are_of_processes_and_have_reasons() -> None:
    listed = list(errata().values())

    assert {erratum.process for erratum in listed} <= set(PROCESSES)
    assert all(erratum.reason.endswith(".") for erratum in listed)


DOCUMENT = {"arguments": {"list": [1, 0, True], "from": {"old": "2020-01-01"}}, "returns": [5, 6]}


@pytest.mark.parametrize(
    ("operation", "place", "expected"),
    [
        ({"op": "add", "path": "/delta", "value": 1}, ("delta",), 1),
        ({"op": "add", "path": "/returns/0", "value": 4}, ("returns",), [4, 5, 6]),
        ({"op": "add", "path": "/returns/-", "value": 7}, ("returns",), [5, 6, 7]),
        ({"op": "remove", "path": "/returns/0"}, ("returns",), [6]),
        ({"op": "replace", "path": "/returns/1", "value": 9}, ("returns",), [5, 9]),
        (
            {"op": "move", "from": "/arguments/from/old", "path": "/returns"},
            ("returns",),
            "2020-01-01",
        ),
        ({"op": "copy", "from": "/returns/0", "path": "/returns/0"}, ("returns",), [5, 5, 6]),
        (
            {"op": "rename_key", "path": "", "from": "old", "to": "new"},
            ("arguments", "from"),
            {"new": "2020-01-01"},
        ),
        (
            {"op": "replace_text", "path": "/arguments", "from": "2020-01", "to": "2020-06"},
            ("arguments", "from", "old"),
            "2020-06-01",
        ),
        ({"op": "invert", "path": "/arguments/list"}, ("arguments", "list"), [0, 1, False]),
        (
            {"op": "invert", "path": "/arguments/inside", "default": False},
            ("arguments", "inside"),
            True,
        ),
        (
            {"op": "wrap", "path": "/arguments/from", "key": "graph"},
            ("arguments", "from"),
            {"graph": {"old": "2020-01-01"}},
        ),
        ({"op": "blank", "path": "/returns", "within": [[1, 2]], "value": 0}, ("returns",), [5, 0]),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) and "op" in value else "",
)
def test_an_operation_changes_its_place(
    operation: dict[str, Any], place: tuple[str, ...], expected: Any
) -> None:
    before = json.dumps(DOCUMENT)

    found: Any = corrected(DOCUMENT, [operation])
    for key in place:
        found = found[key]

    assert json.dumps(found) == json.dumps(expected)
    assert json.dumps(DOCUMENT) == before


def test_a_list_of_dimensions_becomes_an_object() -> None:
    listed = {"dimensions": [{"name": "x", "type": "spatial"}, {"name": "t", "type": "temporal"}]}

    found = corrected(listed, [{"op": "key_by", "path": "/dimensions", "key": "name"}])

    assert {name: entry["type"] for name, entry in found["dimensions"].items()} == {
        "x": "spatial",
        "t": "temporal",
    }


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/nothing", "value": 1},
        {"op": "replace", "path": "/returns/2", "value": 1},
        {"op": "move", "from": "/nothing", "path": "/returns"},
        {"op": "rename_key", "path": "", "from": "nothing", "to": "something"},
        {"op": "replace_text", "path": "", "from": "nothing", "to": "something"},
        {"op": "invert", "path": "/arguments/from"},
        {"op": "blank", "path": "/returns", "within": [[1, 3]], "value": 0},
        {"op": "guess", "path": ""},
    ],
    ids=lambda operation: operation["op"],
)
def test_an_operation_that_changes_nothing_does_not_apply(operation: dict[str, Any]) -> None:
    with pytest.raises(ChangeInapplicable):
        corrected(DOCUMENT, [operation])

    assert corrected(DOCUMENT, [{**operation, "optional": True}]) == DOCUMENT


def test_vectors_count_their_positions(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, add=[GOOD, {**GOOD, "index": 7}], gt=[])

    add, gt = read_vectors(folder)

    assert [vector["index"] for vector in add.vectors] == [0, 7]
    assert (add.process, gt.process, gt.vectors) == ("add", "gt", ())
    assert [file.process for file in read_vectors(folder, ["gt"])] == ["gt"]
    assert [file.process for file in read_vectors(folder / "add.json")] == ["add"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("// JSON5\n{id: 'add', tests: []}", "JSON5"),
        ('{"id": "add"}', "tests"),
        ('{"id": "add", "tests": [1]}', "tests"),
        ("[]", "tests"),
    ],
)
def test_files_that_are_no_vectors_are_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "add.json").write_text(text)

    with pytest.raises(VectorsUnreadable, match=told):
        read_vectors(tmp_path)


def test_the_score_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, add=[GOOD, WRONG], no_process=[GOOD], subtract=[])
    told = tmp_path / "report.json"

    status = main([str(folder), "--json", str(told)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert lines[0].split() == ["add", "1/2"]
    assert lines[1].startswith("    [1] failed: ")
    assert "expected 4, got 3" in lines[1]
    assert lines[2].split() == ["no_process", "0/1", "(1", "missing)"]
    assert lines[-1] == "raw 1/3, corrected 1/3, 0 excused, 1 failed, 1 missing"
    report = json.loads(told.read_text())
    assert [report[key] for key in ("total", "raw", "corrected", "failed")] == [3, 1, 1, 1]
    assert [vector["status"] for vector in report["vectors"]] == ["passed", "failed", "missing"]


def test_only_some_processes_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, add=[GOOD], subtract=[GOOD], gt=[WRONG])

    status = main([str(folder), "--process", "add", "gt", "--verbose"])

    assert status == 1
    out = capsys.readouterr().out
    assert "subtract" not in out
    assert "[0] passed" in out


def test_the_status_is_0_where_all_pass_and_2_where_there_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, add=[GOOD])

    assert main([str(folder)]) == 0
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "neither a folder" in capsys.readouterr().err
    assert main([str(folder), "--process", "sub"]) == 2
    assert "no vectors of sub" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "NAME.json" in capsys.readouterr().err


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, add=[GOOD])

    made = subprocess.run(
        [sys.executable, "-m", "terrazzo.testing.vectors", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith("raw 1/1, corrected 1/1, 0 excused, 0 failed, 0 missing\n")
