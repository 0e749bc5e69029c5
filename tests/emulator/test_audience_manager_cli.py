# SPDX-License-Identifier: Apache-2.0
"""The command line, in this process and as a command, against the emulator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.cli import main

READ = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ", "WRITE"]}


@pytest.fixture
def environment(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    values = {
        "ADOBE_CLIENT_ID": "emulator-client",
        "ADOBE_CLIENT_SECRET": "emulator-client-secret",
        "ADOBE_ORG_ID": "0123456789ABCDEF01234567@AdobeOrg",
        "ADOBE_IMS_URL": emulator.url,
        "ADOBE_AUDIENCE_MANAGER_URL": emulator.url,
        "ADOBE_SESSION_CACHE": "false",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def aam(emulator: Any) -> Any:
    aam = emulator.audience_manager
    ann = aam.add_user("ann")
    aam.add_group(
        "R&D", "all of it", permissions=[READ], wildcards=["VIEW_TAGS", "PTRREPORTS"], users=[ann.user_id]
    )
    aam.add_group("empty")
    aam.add_group('quote " back \\ slash: # 😀', "two\nlines")
    aam.add_group("twin")
    aam.add_group("twin")
    return aam


def groups(*arguments: object) -> int:
    return main(["groups", *map(str, arguments)])


def test_an_output_that_cannot_be_written_is_told(emulator, aam, environment, tmp_path: Path, capsys):
    assert groups("export", "--output", tmp_path / "missing" / "groups.yaml") == 1
    assert re.search(
        r"groups.yaml cannot be written: No such file.*What to do: Name a file",
        capsys.readouterr().err,
        re.DOTALL,
    )


def test_what_is_exported_plans_to_nothing(emulator, aam, environment, tmp_path: Path, capsys):
    file = tmp_path / "groups.yaml"

    assert groups("export", "--output", file) == 0
    assert groups("validate", file) == 0
    assert groups("plan", file) == 0

    assert emulator.journal.writes() == []
    text = file.read_text()
    assert '# left out: "twin" (groupId 1005, 1006): several groups have this name' in text
    shown = capsys.readouterr().out
    assert "3 groups, nothing wrong" in shown
    assert "3 unchanged, 2 not managed" in shown
    assert "!" not in shown


def test_a_group_that_the_user_cannot_access_is_exported_without_its_permissions(
    emulator, aam, environment, tmp_path: Path, capsys
):
    aam.add_group("locked", inaccessible=True)
    file = tmp_path / "groups.yaml"

    assert groups("export", "--output", file) == 0
    assert groups("plan", file) == 0

    assert "permissions are left out: the calling user cannot access them" in file.read_text()
    assert emulator.journal.writes() == []
    file.write_text('groups: [{name: "locked", permissions: []}]')
    assert groups("plan", file) == 1
    assert "give it access, or leave the permissions of that group out" in capsys.readouterr().err


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="the page uses curl, which this machine does not have"
)
def test_the_commands_of_the_page_do_what_it_says(emulator, repo: Path, tmp_path: Path):
    page = (repo / "docs" / "audience-manager.md").read_text()
    (commands,) = re.findall(
        r"^```bash\n(export ADOBE_CLIENT_ID=emulator-client.*?)^```", page, re.DOTALL | re.MULTILINE
    )

    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace("http://127.0.0.1:8765", emulator.url)],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert finished.returncode == 0, finished.stderr
    first, second = finished.stdout.split("Plan for ")[1:]
    assert "0 to rename" in first
    assert "Nothing to change." in first
    assert "~ rename           EU Analysts -> EMEA Analysts (groupId 1001)" in second
    assert [entry.path for entry in emulator.journal.writes()] == []


def test_a_part_can_be_exported(aam, environment, capsys):
    assert groups("export", "--names", "emp.*") == 0
    assert (
        capsys.readouterr().out
        == 'groups:\n  - name: "empty"\n    description: null\n    permissions: []\n    wildcards: []\n'
    )
    assert groups("export", "--names", "none") == 0
    assert capsys.readouterr().out == "groups: []\n"


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_a_plan_is_shown_and_told_by_the_exit_code(emulator, aam, environment, tmp_path: Path, capsys, form):
    file = tmp_path / "groups.yaml"
    file.write_text("groups:\n  - name: New one\n")

    assert groups("plan", file, "--format", form) == 2

    shown = capsys.readouterr().out
    assert "New one" in shown
    if form == "json":
        assert json.loads(shown)["counts"]["create"] == 1
    assert emulator.journal.writes() == []


def test_a_guard_is_an_error(emulator, aam, environment, tmp_path: Path, capsys):
    file = tmp_path / "groups.yaml"
    file.write_text("groups: []\n")
    arguments = ["plan", file, "--prune", "--managed-groups", "empty", "--max-delete-ratio", 1]

    assert groups(*arguments) == 1
    assert "allowed by --allow-empty-desired" in capsys.readouterr().err
    assert groups(*arguments, "--allow-empty-desired") == 2


def test_an_airflow_connection_is_used(aam, adobe_connection, capsys):
    assert groups("export", "--conn-id", "adobe_default", "--names", "empty") == 0
    assert "empty" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export"], "no connection was named"),
        (["export", "--conn-id", "unheard_of"], "there is no Airflow connection 'unheard_of'"),
        (["validate", "nowhere.yaml"], "nowhere.yaml cannot be read: No such file or directory"),
        (["export", "--names", "("], "option --names is '(': not a regular expression"),
        (["plan", "nowhere.yaml", "--prune"], "option --prune is True: needs option --managed-groups"),
    ],
)
def test_errors_are_told_in_one_line_without_a_traceback(
    monkeypatch, tmp_path: Path, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    for name in ("ADOBE_CLIENT_ID", "ADOBE_CLIENT_SECRET", "ADOBE_ORG_ID"):
        monkeypatch.delenv(name, raising=False)

    assert groups(*arguments) == 1

    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", [("plan", "f.yaml", "--managed-groups", ""), ("export", "--names", " ")])
def test_a_blank_pattern_is_told_in_the_words_of_the_command_line(environment, capsys, command):
    assert groups(*command) == 1
    said = capsys.readouterr().err
    assert "should be a regular expression, or left out" in said
    assert "Dag" not in said


def test_a_variable_that_is_nearly_a_field_is_an_error(emulator, environment, monkeypatch, capsys):
    monkeypatch.setenv("ADOBE_AUDIENCE_MANAGER_URI", "https://elsewhere.example")
    assert groups("export") == 1
    assert "ADOBE_AUDIENCE_MANAGER_URI is no field" in (said := capsys.readouterr().err)
    assert "did you mean ADOBE_AUDIENCE_MANAGER_URL?" in said
    assert "elsewhere" not in said
    assert emulator.journal.entries == []


def test_a_bad_file_is_told_with_its_line(tmp_path: Path, capsys):
    file = tmp_path / "groups.yaml"
    file.write_text("groups:\n  - name: A\n  - name: A\n")

    assert groups("validate", file) == 1
    assert f"{file}:3:" in capsys.readouterr().err


@pytest.mark.timeout(60)
def test_a_named_pipe_is_refused_and_the_pipe_of_a_shell_is_read(tmp_path: Path, capsys):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        assert groups("validate", path) == 1
        assert re.search("cannot be read: it is a (pipe|device), not a file", capsys.readouterr().err)
    reads, writes_to = os.pipe()
    os.write(writes_to, b"groups: []")
    os.close(writes_to)
    assert groups("validate", f"/dev/fd/{reads}") == 0
    os.close(reads)


def test_the_command_needs_no_airflow_for_a_file(environment, repo: Path):
    """Validation in CI should not pay for Airflow."""
    code = (
        "import sys; from airflow_provider_adobe_audiences.cli import main; "
        f"code = main(['groups', 'validate', {str(repo / 'example_dags' / 'data' / 'groups.yaml')!r}]); "
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'airflow'], 'Airflow was "
        "imported'; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    module = [sys.executable, "-m", "airflow_provider_adobe_audiences.cli"]
    done = subprocess.run([*module, "groups", "schema"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(
        (repo / "airflow_provider_adobe_audiences" / "groups" / "groups.schema.json").read_text()
    )
