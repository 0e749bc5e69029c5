# SPDX-License-Identifier: Apache-2.0
"""Every scheduler, worker and DAG processor pays for our imports: compared by `sys.modules`, not by the
clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

PACKAGE = "airflow_provider_adobe_audiences"

# Forks once per module, so that each starts from what a DAG file that imports Airflow has already loaded.
MEASURE = """
import json, os, pathlib, sys
{baseline}
import {package}
# Not pkgutil.walk_packages, which imports what it walks through.
root = pathlib.Path({package}.__file__).parent
files = [file.relative_to(root.parent).with_suffix("") for file in root.rglob("*.py")]
names = sorted(".".join(file.parts).removesuffix(".__init__") for file in files)
names = [name for name in names if ".emulator" not in name]
before = set(sys.modules)
for name in names:
    read, write = os.pipe()
    if os.fork() == 0:
        __import__(name)
        with os.fdopen(write, "w") as answer:
            json.dump([name, sorted(set(sys.modules) - before)], answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        print(answer.read() or json.dumps([name, None]))
    os.wait()
"""


def run_python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_provider_info_needs_the_standard_library_only(repo):
    # -I -S: isolated and without site-packages, so that anything else cannot be imported in the first place.
    code = (
        f"import sys; sys.path.insert(0, {str(repo)!r}); before = set(sys.modules); "
        f"from {PACKAGE}.get_provider_info import get_provider_info; get_provider_info(); "
        "loaded = sorted(set(sys.modules) - before); import json; print(json.dumps(loaded))"
    )

    loaded = json.loads(run_python("-I", "-S", "-c", code))

    assert [name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names] == [
        PACKAGE,
        f"{PACKAGE}.get_provider_info",
    ]


@pytest.fixture(scope="module")
def added_modules() -> dict[str, list[str] | None]:
    try:
        from airflow.sdk import BaseHook  # noqa: F401

        source = "airflow.sdk"
    except ImportError:  # Airflow 2.11 and 3.0
        source = "airflow.providers.common.compat.sdk"
    baseline = f"from {source} import DAG, task, BaseOperator, BaseSensorOperator, BaseHook, Asset"
    lines = run_python("-W", "ignore", "-c", MEASURE.format(baseline=baseline, package=PACKAGE)).splitlines()
    return dict(json.loads(line) for line in lines if line.startswith("["))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_module_loads_a_heavy_library(added_modules, repo):
    configuration = tomllib.loads((repo / "pyproject.toml").read_text())
    heavy = set(configuration["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])
    assert {"requests", "httpx", "pyarrow", "yaml"} <= heavy

    offenders = {
        module: sorted({name for name in added or () if {name, name.partition(".")[0]} & heavy})
        for module, added in added_modules.items()
    }

    assert f"{PACKAGE}.hooks.adobe" in added_modules
    assert [module for module, added in added_modules.items() if added is None] == []
    assert {module: names for module, names in offenders.items() if names} == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_module_adds_more_than_twenty_modules(added_modules):
    from airflow import __version__

    if __version__ < "3.3":
        pytest.skip("older Airflow loads less by itself; the budget is for the newest")
    assert {module: added for module, added in added_modules.items() if len(added or ()) > 20} == {}
