# SPDX-License-Identifier: Apache-2.0
"""Names are in the field's words, as docs/glossary.md has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "airflow_provider_adobe_audiences"
#: Not used, and what is.
INSTEAD = {
    "answer": "response",
    "answers": "responses",
    "repeatable": "idempotent",
    "twin": "duplicate",
    "twins": "duplicates",
}
CONSTANTS = re.compile(r"_?(MOST|LARGEST|LONGEST|LEAST|SMALLEST|SHORTEST)_")


def names(source: str) -> Iterator[tuple[int, str]]:
    """Yield the names that a module gives, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr


def problems(source: str) -> list[str]:
    found = []
    for line, name in names(source):
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
        found += [f"{line}: {name}: {INSTEAD[word.lower()]}" for word in words if word.lower() in INSTEAD]
        if CONSTANTS.match(name):
            found.append(f"{line}: {name}: MAX_ or MIN_")
    return found


@pytest.mark.parametrize(
    "room", ["airflow_provider_adobe_audiences", "example_dags", "scripts", "benchmarks"]
)
def test_no_name_is_in_private_words(room: str, repo: Path) -> None:
    files = sorted((repo / room).rglob("*.py"))
    assert files
    found = {str(file.relative_to(repo)): problems(file.read_text()) for file in files}
    assert {name: said for name, said in found.items() if said} == {}


def test_a_private_word_is_noticed() -> None:
    source = """
class TheAnswer:
    def twin_of(self, repeatable):
        self._answers = 1
MOST_ROWS = 2
kept = 3
"""
    assert sorted(said.partition(": ")[2] for said in problems(source)) == [
        "MOST_ROWS: MAX_ or MIN_",
        "TheAnswer: response",
        "_answers: responses",
        "repeatable: idempotent",
        "twin_of: duplicate",
    ]


def test_the_glossary_names_the_words_that_are_not_used(repo: Path) -> None:
    text = (repo / "docs" / "glossary.md").read_text()
    assert all(word in text for word in ("answer", "repeatable", "twin", "MAX_", "MIN_"))
