"""The reference pages say what the code says, and every process has an example that runs."""

from __future__ import annotations

import pytest
from scripts import cli_reference, error_reference, process_reference
from scripts.pages import DOCS
from scripts.process_examples import EXAMPLES

from terrazzo.errors import TerrazzoError
from terrazzo.processes import SPECS

SCRIPTS = {
    "processes.md": process_reference,
    "errors.md": error_reference,
    "cli.md": cli_reference,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_page_is_up_to_date(name: str) -> None:
    script = SCRIPTS[name]

    written = (DOCS / name).read_text()

    assert script.page() == written, f"Run `python -m {script.__name__}`."


def test_every_process_has_an_example() -> None:
    assert set(EXAMPLES) == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_example_uses_only_what_there_is(name: str) -> None:
    known = {parameter.name for parameter in SPECS[name].parameters}
    required = {parameter.name for parameter in SPECS[name].parameters if not parameter.optional}

    given = set(EXAMPLES[name].arguments)

    assert required <= given <= known


def test_page_of_errors_has_the_whole_tree() -> None:
    kinds = {kind for kind, _ in error_reference.tree()}
    waiting = [TerrazzoError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("terrazzo."):
            assert kind in kinds
        waiting += kind.__subclasses__()
