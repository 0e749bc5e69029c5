# SPDX-License-Identifier: Apache-2.0
"""Does the installed package work? Run by `.ci/run` with the Python of a clean environment, outside of the
checkout.

Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

import airflow_provider_adobe_audiences as package

NAME = "airflow-provider-adobe-audiences"


def check(what: str, fine: bool, seen: object = "") -> None:
    print(f"{'ok' if fine else 'FAILED'}: {what}")
    if not fine:
        raise SystemExit(f"{what}: {seen}")


def main() -> None:
    installed = distribution(NAME)
    folder = Path(package.__file__).parent
    check("installed from the wheel, not from a checkout", folder.parent.name == "site-packages", folder)
    check("the version is the distribution's", installed.version == package.__version__, installed.version)
    check("py.typed is there", (folder / "py.typed").is_file())
    tops = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
    check(
        "nothing but the package is there",
        {top for top in tops if not top.endswith(".dist-info")} == {package.__name__},
        tops,
    )
    check("every entry point can be loaded", all(callable(point.load()) for point in installed.entry_points))

    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        listed = subprocess.run(
            ["airflow", "providers", "list", "-o", "json"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = {provider["package_name"] for provider in json.loads(listed[listed.index("[{") :])}
        check("airflow providers list shows it", NAME in names, names)
        shown = subprocess.run(
            ["airflow", "providers", "hooks", "-o", "json"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        hooks = {hook["connection_type"]: hook for hook in json.loads(shown[shown.index("[{") :])}
        check(
            "airflow providers hooks shows the connection type",
            hooks.get("adobe", {}).get("package_name") == NAME,
            hooks.get("adobe"),
        )

    command = [sys.executable, "-m", f"{package.__name__}.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as emulator:
        try:
            assert emulator.stdout is not None
            url = urlsplit(emulator.stdout.readline().split()[-1])
            assert url.hostname
            server = HTTPConnection(url.hostname, url.port, timeout=10)
            server.request("GET", "/_emulator/health")
            status = server.getresponse().status
            server.close()
            check("the emulator starts and answers", status == 200, status)
        finally:
            emulator.terminate()
    check("the emulator ends when it is told to", emulator.returncode == 0, emulator.returncode)


if __name__ == "__main__":
    main()
