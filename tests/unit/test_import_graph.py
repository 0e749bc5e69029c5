# SPDX-License-Identifier: Apache-2.0
"""The package has no import circle, and nothing in it is too long to read.

Every import counts: those for type checkers only and those inside of functions too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import airflow_provider_adobe_audiences

PACKAGE = "airflow_provider_adobe_audiences"
ROOT = Path(airflow_provider_adobe_audiences.__file__).parent
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 60

#: What does not hold yet. An entry that is no longer needed fails the test, so that the list only shrinks.
NOT_YET: Mapping[str, frozenset[str]] = {
    "circle": frozenset(),
    "module": frozenset(),
    "function": frozenset(),
}


def modules(root: Path = ROOT, package: str = PACKAGE) -> dict[str, Path]:
    """Return every module by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join((package, *names))] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that a module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                target = f"{source}.{alias.name}"
                yield target if target in known else source


def graph(root: Path = ROOT, package: str = PACKAGE) -> dict[str, set[str]]:
    """Return which modules each module imports."""
    known = modules(root, package)
    return {name: {one for one in imports(name, path, known) if one in known} for name, path in known.items()}


def in_circles(edges: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import themselves, through others or not."""
    circular = set()
    for name in edges:
        reached: set[str] = set()
        ways = list(edges[name])
        while ways:
            reached.add(step := ways.pop())
            ways += edges[step] - reached
        if name in reached:
            circular.add(name)
    return circular


def check(rule: str, found: set[str]) -> None:
    """Fail for what breaks a rule, and for what is excused without need."""
    assert found - NOT_YET[rule] == set()
    assert NOT_YET[rule] - found == set(), f"remove these from NOT_YET[{rule!r}]"


def test_there_is_no_import_circle() -> None:
    edges = graph()
    assert len(edges) > 80
    assert sum(map(len, edges.values())) > 200
    check("circle", in_circles(edges))


def test_no_module_is_too_long() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    check("module", {name for name, count in lines.items() if count > MAX_MODULE_LINES})


def test_no_function_is_too_long() -> None:
    found = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if function and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES:
                found.add(f"{name}.{node.name}")
    check("function", found)


def test_circles_are_found_whatever_kind_of_import_makes_them(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("from __future__ import annotations\nimport p.b\n")
    (tmp_path / "b.py").write_text("def later():\n    from .sub import c\n")
    (tmp_path / "d.py").write_text("from . import a\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "__init__.py").write_text("from .c import thing\n")
    (tmp_path / "sub" / "c.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..a import Thing\nthing = 1\n"
    )
    assert in_circles(graph(tmp_path, "p")) == {"p.a", "p.b", "p.sub.c"}
