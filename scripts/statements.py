# SPDX-License-Identifier: Apache-2.0
"""Print how many statements the package has without the emulator: what a change adds, whatever its layout.

python -m scripts.statements [FOLDER]
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

PACKAGE = "airflow_provider_adobe_audiences"


def statements(package: Path) -> Counter[str]:
    """Count ``ast.stmt`` nodes, docstrings left out.

    :param package: its folder.
    :returns: the count by room.
    """
    counts: Counter[str] = Counter()
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0]
        if room != "emulator":
            nodes = ast.walk(ast.parse(file.read_text()))
            counts[room] += sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in nodes)
    return counts


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


if __name__ == "__main__":
    counted = statements(Path(sys.argv[1] if len(sys.argv) > 1 else ".") / PACKAGE)
    for name, count in counted.most_common():
        print(f"{count:6,}  {name}")
    print(f"{counted.total():6,}  in all")
