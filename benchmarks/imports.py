# SPDX-License-Identifier: Apache-2.0
"""What an import costs: modules of operators beside those of other providers, ``import airflow`` with and
without this provider.

All take turns, each import in a process of its own that has loaded what a Dag file loads anyhow. Counted is
the processor's time, which other work on the machine hardly changes. The peers are installed by
``make bench`` into ``build/peers`` only.
"""

from __future__ import annotations

import importlib.metadata
import os
import pkgutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_adobe_audiences import operators

REPO = Path(__file__).parents[1]
PEERS = REPO / "build" / "peers"
PEERS_MODULES = {
    "airbyte": "airflow.providers.airbyte.operators.airbyte",
    "http": "airflow.providers.http.operators.http",
    "dbt-cloud": "airflow.providers.dbt.cloud.operators.dbt",
    "databricks": "airflow.providers.databricks.operators.databricks",
    "fivetran-async": "fivetran_provider_async.operators",
}
PEER = "airbyte"  # the lightest of them
OURS = "airflow_provider_adobe_audiences"
TURNS = int(os.environ.get("BENCH_TURNS", "10"))

IMPORT = """
import sys, time
{before}
loaded = len(sys.modules)
began = time.process_time()
import {module}
print(time.process_time() - began, len(sys.modules) - loaded)
"""
DAG_FILE = "from airflow.providers.common.compat.sdk import DAG, task, BaseOperator, BaseSensorOperator"


def run() -> dict[str, Any]:
    """Measure, and return milliseconds, modules and ratios.

    :raises SystemExit: when the peer is not installed.
    """
    if not (PEERS / "airflow" / "providers" / "airbyte").is_dir():
        raise SystemExit(f"{PEERS} does not hold the airbyte provider: run make bench")
    return {"operators": operator_modules(), "import airflow": import_airflow()}


def operator_modules() -> dict[str, Any]:
    """Return what the modules of operators cost, as ratios to the peer's."""
    ours = {
        module.name: f"{operators.__name__}.{module.name}"
        for module in pkgutil.iter_modules(operators.__path__)
    }
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (REPO, PEERS)))}
    seconds, modules = in_turns(
        {name: ([], environment, module) for name, module in (PEERS_MODULES | ours).items()}, before=DAG_FILE
    )
    return {
        name: {
            "ms": round(seconds[name] * 1000, 1),
            "modules": modules[name],
            f"ratio to {PEER}": round(seconds[name] / seconds[PEER], 2),
        }
        for name in seconds
    }


def import_airflow() -> dict[str, Any]:
    """Return what ``import airflow`` costs with this provider installed, and without."""
    with tempfile.TemporaryDirectory() as folder:
        sites = {name: site(Path(folder) / name, ours=name == "with") for name in ("without", "with")}
        seconds, _ = in_turns(
            {name: (["-S"], {"PYTHONPATH": str(place)}, "airflow") for name, place in sites.items()}
        )
        part, _ = in_turns(
            {"ours": (["-S"], {"PYTHONPATH": str(sites["with"])}, f"{OURS}.get_provider_info")},
            before="import importlib.metadata, typing",
        )
    return {
        # What Airflow loads of this provider. The difference of the two whole imports is mostly noise.
        "this provider's part, ms": round(part["ours"] * 1000, 2),
        "without, ms": round(seconds["without"] * 1000, 1),
        "with, ms": round(seconds["with"] * 1000, 1),
        "ms more": round((seconds["with"] - seconds["without"]) * 1000, 2),
        "ratio": round(seconds["with"] / seconds["without"], 3),
    }


def site(folder: Path, *, ours: bool) -> Path:
    """Make a folder of packages as this environment has them, with or without this provider."""
    folder.mkdir()
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if item.suffix != ".pth" and not item.name.startswith((OURS, f"_{OURS}", f"__editable__.{OURS}")):
            (folder / item.name).symlink_to(item)
    if ours:
        (folder / OURS).symlink_to(REPO / OURS)
        described = importlib.metadata.distribution(OURS.replace("_", "-"))
        entry_points = described.locate_file(f"{OURS}-{described.version}.dist-info")
        (folder / Path(str(entry_points)).name).symlink_to(str(entry_points))
    return folder


def in_turns(
    imports: dict[str, tuple[list[str], dict[str, str], str]], before: str = ""
) -> tuple[dict[str, float], dict[str, int]]:
    """Import each module in a new process, one after the other and all again.

    :param imports: Python's options, the environment and the module, by name.
    :param before: what the process has imported before.
    :returns: the median of the seconds, and how many modules were loaded, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in imports}
    modules: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(TURNS + 1):
            # Now forwards, now backwards: whoever comes second finds the machine as the first has left it.
            for name, (options, environment, module) in list(imports.items())[:: 1 if turn % 2 else -1]:
                code = IMPORT.format(before=before, module=module)
                took, loaded = subprocess.run(
                    [sys.executable, "-W", "ignore", *options, "-c", code],
                    env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": home, **environment},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()[-2:]
                modules[name] = int(loaded)
                if turn:  # the first fills the disk's cache, and compiles
                    seconds[name].append(float(took))
    return {name: statistics.median(taken) for name, taken in seconds.items()}, modules
