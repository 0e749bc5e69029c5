# SPDX-License-Identifier: Apache-2.0
"""``make security``: no secret in a file, no finding of bandit (medium, high) and none of zizmor.

Runs in the environment of ``requirements/tools.txt``; standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# Regular expressions for what was made up for the documentation and the tests.
EXAMPLES = (
    "CLIENT_SECRET",
    "pass",
    "password",
    "password-in-the-url",
    "proxy-password",
    "0123456789[A-Z]+",  # an alphabet
)
# What looks for words like "password = ..." finds every field of a form here.
SCAN = ["detect-secrets-hook", "--disable-plugin", "KeywordDetector"]


def succeeds(*command: str) -> bool:
    print("$", *command[:8], *(["..."] if len(command) > 8 else []), flush=True)
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=REPO, check=False).returncode == 0


def no_secret(*files: str) -> bool:
    examples = "^(" + "|".join(EXAMPLES) + ")$"
    return succeeds(*SCAN, "--exclude-secrets", examples, "--", *files)


def tracked() -> list[str]:
    """Return every file under version control, and those about to be; the pinned sets are full of hashes."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (REPO / name).is_file() and not _is_pinned_set(name)]


def _is_pinned_set(name: str) -> bool:
    return name.startswith("requirements/") and name.endswith(".txt")


def scan_finds_what_is_planted() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        planted = Path(folder, "planted.py")
        planted.write_text("key = '" + "AKIA" + "QWERTYUIOP234567" + "'\n")
        return not no_secret(str(planted))


def main() -> int:
    results = {
        "secret scan": no_secret(*tracked()),
        "secret scan finds a planted one": scan_finds_what_is_planted(),
        "bandit": succeeds(
            "bandit", "-q", "-ll", "-r", "airflow_provider_adobe_audiences", "scripts", "example_dags"
        ),
        "zizmor": succeeds("zizmor", "--offline", "--no-progress", "--persona=pedantic", ".github"),
    }
    for name, fine in results.items():
        print(f"{name:34} {'ok' if fine else 'FAILED'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
