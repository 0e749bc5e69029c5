# SPDX-License-Identifier: Apache-2.0
"""What a user's type checker says of Dags that use this package: nothing of right ones, and each mistake."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MYPY = ["-m", "mypy", "--strict", f"--config-file={HERE / 'mypy.ini'}", "--no-error-summary"]
ERROR = re.compile(
    r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)  \[(?P<code>[\w-]+)\]$", re.MULTILINE
)
EXPECTED = re.compile(r"# error: (?P<code>[\w-]+) ?(?P<words>[^#\n]*)")


def errors_in(repo: Path, *files: Path) -> list[dict[str, str]]:
    cache = repo / ".mypy_cache" / "users"
    run = subprocess.run(
        [sys.executable, *MYPY, f"--cache-dir={cache}", *map(str, files)],
        capture_output=True,
        text=True,
        cwd=repo,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return [found.groupdict() for found in ERROR.finditer(run.stdout)]


def shown(errors: list[dict[str, str]]) -> str:
    return "\n".join(
        f"{Path(error['file']).name}:{error['line']}: {error['text']} [{error['code']}]" for error in errors
    )


def of(found: list[dict[str, str]], path: Path) -> list[dict[str, str]]:
    return [error for error in found if error["file"].endswith(f"{path.parent.name}/{path.name}")]


def test_right_dags_have_no_error_and_each_mistake_has_one(repo: Path) -> None:
    right, mistakes = HERE / "user_dags.py", HERE / "user_mistakes.py"
    examples = sorted((repo / "example_dags").glob("*.py"))
    assert len(examples) >= 7
    expected = [
        (number, mark["code"], mark["words"].strip())
        for number, line in enumerate(mistakes.read_text().splitlines(), 1)
        for mark in EXPECTED.finditer(line)
    ]
    assert len(expected) >= 20

    found = errors_in(repo, right, mistakes, *examples)  # once: it takes a while

    assert shown(of(found, right)) == ""
    assert "\n".join(filter(None, (shown(of(found, file)) for file in examples))) == ""
    errors = of(found, mistakes)
    assert Counter((int(error["line"]), error["code"]) for error in errors) == Counter(
        (line, code) for line, code, _ in expected
    ), shown(errors)
    for line, code, words in expected:
        assert any(
            error["code"] == code and int(error["line"]) == line and words in error["text"]
            for error in errors
        ), f"line {line}: {words}\n{shown(errors)}"


def test_airflow_takes_the_right_dags_too(dag_bag: Callable[[Path], Any]) -> None:
    bag = dag_bag(HERE / "user_dags.py")
    assert bag.import_errors == {}
    assert len(bag.dags) >= 12
