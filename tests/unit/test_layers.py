# SPDX-License-Identifier: Apache-2.0
"""Imports run downward only: the contracts of import-linter in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_imports_run_downward_only(repo):
    pytest.importorskip(
        "importlinter",
        minversion="2.11",
        reason="the pinned set of an old Airflow has an older import-linter",
    )

    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 kept, 0 broken" in result.stdout
