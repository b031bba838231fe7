"""Every name that a package exports is told of somewhere in the documentation."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
from tests.docs.pages import GENERATED, PAGES

import terrazzo

WRITTEN = [page for page in PAGES if page.name not in GENERATED]


def exports() -> list[tuple[str, str]]:
    """Return (package, name) of every `__all__`."""
    found = []
    for info in pkgutil.walk_packages(terrazzo.__path__, "terrazzo."):
        if info.name == "terrazzo.__main__" or info.name.startswith("terrazzo.testing"):
            continue
        module = importlib.import_module(info.name)
        found += [(info.name, name) for name in getattr(module, "__all__", ())]
    return sorted(set(found))


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Return every word of code in the documentation: fenced, or between backticks."""
    code = []
    for page in WRITTEN:
        text = page.read_text()
        code += re.findall(r"^```(?:python|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        code += re.findall(r"`([^`\n]+)`", text)
    return set(re.findall(r"\w+", "\n".join(code)))


@pytest.mark.parametrize(("package", "name"), exports())
def test_export_is_documented(package: str, name: str, words: set[str]) -> None:
    assert name in words, f"{package}.{name} is exported and no page of docs/ tells of it."
