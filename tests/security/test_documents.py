# SPDX-License-Identifier: Apache-2.0
"""Bombs, depths, sizes, repeated keys and odd numbers in whatever a person, an upstream task or Adobe hands
over.

Endless and compressed answers are tried in tests/faults, where memory is measured.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform, target
from airflow_provider_adobe_audiences.adobe.client.call import Response
from airflow_provider_adobe_audiences.adobe.client.problems import read_problem
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, DesiredStateError
from airflow_provider_adobe_audiences.groups import document, spec
from airflow_provider_adobe_audiences.profiles.encode import Columns
from airflow_provider_adobe_audiences.profiles.parts import Parts
from airflow_provider_adobe_audiences.profiles.rows import table_of_file

SOON = 10.0


@contextmanager
def soon() -> Iterator[None]:
    """What is bounded ends in a fraction of this; what is not would take minutes to days."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SOON


def aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (aliases(9), "more than 2,000,000 values"),
        ("groups: &a [*a]", "holds itself"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
        ("- " * 100_000, "nested too deeply|not valid YAML"),
        ("groups: 1" + ":10" * 1_000_000, "a number of 3,000,001 characters"),
        ("groups: 1." + "1" * 1_000_000, "a number of"),
        ("groups: 0x" + "f" * 1_000_000, "a number of"),
        ("groups: 0b" + "1" * 1_000_000, "a number of"),
        ('{"groups": 1' + "0" * 100_000 + "}", "a number of"),
        ("groups: []\ngroups: []", "written twice"),
        ('{"groups": [], "groups": [{"name": "x"}]}', "written twice"),
        ('{"groups": [{"name": "x", "\\u006eame": "y"}]}', "written twice"),
        ("groups: [{<<: {name: x}}]", "merge keys"),
        ("? [a]\n: b", "a key must be a plain word"),
        ("groups: [{name: a, groupId: .nan}]", "must be a whole number"),
        ("groups: [{name: a, groupId: .inf}]", "must be a whole number"),
        ('{"groups": [{"name": "a", "groupId": NaN}]}', "must be a whole number|not valid"),
        ('{"groups": [{"name": "a", "groupId": 1e999}]}', "must be a whole number"),
        ("groups: !!python/object/apply:os.system [ls]", "the tag"),
        ("groups: !!python/name:os.system x", "the tag"),
        ("!!binary aGk=", "the tag"),
        ("groups: !!set {a, b}", "the tag"),
        ("groups: []\n---\ngroups: []", "a second document"),
        ("groups: \x00", "not valid YAML"),
        ('groups: [{name: "a\\x1b[31m"}]', "cannot be seen"),
        ('groups: [{name: "a\\nb"}]', "cannot be seen"),
        ('groups: [{name: "a\\u202eb"}]', "cannot be seen"),
        ("%TAG ! tag:evil,2026:\n--- !x []", "the tag"),
    ],
)
def test_hostile_groups_are_refused_soon_and_with_their_line(content: str, reason: str) -> None:
    with soon(), pytest.raises(DesiredStateError, match=reason) as raised:
        spec.load(document.parse(content.encode(), "groups.yaml"))
    assert "groups.yaml:" in str(raised.value)
    assert len(str(raised.value)) < 2000


def test_a_file_is_not_read_further_than_a_list_of_groups_can_be_long() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert size >= 0
            self.given += size
            return b"#" * size

    file = Endless()
    with pytest.raises(DesiredStateError, match="larger than 10 MB"):
        document.read(file, "endless.yaml")  # type: ignore[arg-type]
    assert file.given <= document.MAX_BYTES + 1


def test_the_command_tells_the_same_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text("groups: 1" + ":10" * 100_000)
    command = [sys.executable, "-m", "airflow_provider_adobe_audiences.cli", "groups", "validate", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if not done.stderr and not done.stdout:  # the module has no main block: the installed command has
        command = [
            sys.executable,
            "-c",
            "import sys; from airflow_provider_adobe_audiences.cli import main; sys.exit(main())",
            *command[3:],
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a number of 300,001 characters" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_escaped_over_and_over_is_compared_soon() -> None:
    with soon():
        assert spec.canonical_name("&" + "amp;" * 500_000)
    assert spec.canonical_name("R&amp;amp;D") == "R&D"


LOL = (
    "<!DOCTYPE r ["
    + "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9)).replace("&l0;", "lol")
    + "]>"
)


@pytest.mark.parametrize(
    "body",
    [
        f"{LOL}<response><status>&l9;</status></response>",
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><response><status>&x;</status></response>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/evil.dtd"><response><status>complete</status></response>',
        "<response>" + "<a>" * 1_000_000,
        "<response>" * 9,
        "<html><body>Sign in</body></html>",
        '<?xml version="1.0" encoding="foo"?><response/>',
        "<response><status>\x00</status></response>",
        "<response>",
        "",
    ],
    ids=[
        "entities",
        "a file",
        "a foreign DTD",
        "depth",
        "one too deep",
        "a page",
        "no encoding",
        "NUL",
        "half",
        "nothing",
    ],
)
def test_hostile_xml_is_refused_soon(body: str) -> None:
    with soon(), pytest.raises((ValueError, LookupError)) as raised:
        target.read_xml(body.encode())
    assert "root:" not in str(raised.value)


def test_xml_with_a_million_profiles_leaves_twenty_ids() -> None:
    profiles = "<profile><id>x</id><status>error</status></profile>" * 200_000
    with soon():
        answer = target.read_xml(f"<response><status>complete</status>{profiles}</response>".encode())
    assert len(answer.failed_ids) == 20


@pytest.mark.parametrize(
    "epoch", ["1e400", "-1e400", "NaN", "Infinity", "1" + "0" * 400, "true", "1e18", "1e-400", '"1"', "[]"]
)
def test_an_epoch_that_is_none_ends_no_worker(epoch: str) -> None:
    body = f'{{"children": [{{"audienceId": "x", "createEpoch": {epoch}}}]}}'
    with soon():
        [audience] = experience_platform.list_audiences().parse(Response(200, {}, body.encode())).audiences
    assert audience.created_at is None or 0 < audience.created_at < 1e12


@pytest.mark.parametrize(
    "body",
    [
        b"<title>" * 1_000_000,
        b"<" * 5_000_000,
        b'{"message": "' + b"x" * 5_000_000 + b'"}',
        b"\x1b" * 5_000_000,
    ],
)
def test_a_long_problem_is_read_soon(body: bytes) -> None:
    with soon():
        assert len(read_problem(Response(500, {}, body)).message) <= 501


@pytest.mark.parametrize(
    ("file_format", "content", "reason"),
    [
        ("csv", b'thirdPartyId,a\n"' + b"x" * 5_000_000, "field larger than field limit"),
        (
            "csv",
            b"thirdPartyId," + b",".join(b"c%d" % number for number in range(13_000)) + b"\n1",
            "Adobe keeps",
        ),
        ("csv", b"thirdPartyId,a,a\n1,2,3", "columns of the same name"),
        ("csv", b"thirdPartyId,a\n\xff,1", "is not UTF-8"),
        ("json", b'{"thirdPartyId": "1", "a": "' + b"x" * 3_000_000, "longer than 1 MB"),
        (
            "json",
            b'{"thirdPartyId": "1", "a": 1}\n{"thirdPartyId": "1", "a": '
            + b"[" * 100_000
            + b"]" * 100_000
            + b"}",
            "RecursionError|not JSON",
        ),
        ("json", b'{"thirdPartyId": "1", "a": 1}\n{"thirdPartyId": "1", "a": NaN}', "NaN is no JSON"),
        (
            "json",
            b'{"thirdPartyId": "1", "a": 1}\n{"thirdPartyId": "1", "a": -Infinity}',
            "-Infinity is no JSON",
        ),
        ("json", b'{"thirdPartyId": "1", "a": {"b": 1}}', "has no text"),
        ("json", b'{"thirdPartyId": "1", "a": "\\ud800"}', "cannot be written in UTF-8"),
        (
            "json",
            b'{"thirdPartyId": "1", "a": 1}\n{"thirdPartyId": "1", "a": ' + b"9" * 100_000 + b"}",
            "bytes; Adobe keeps",
        ),
        ("parquet", b"PAR1" + b"\xff" * 1000 + b"PAR1", "is no Parquet file"),
        ("parquet", b"PAR1\x15\x04" + b"\x7f\xff\xff\xffPAR1", "is no Parquet file"),
    ],
)
def test_hostile_profiles_are_refused_soon(file_format: str, content: bytes, reason: str) -> None:
    with (
        soon(),
        Parts(Columns("thirdPartyId", "thirdPartyId")) as parts,
        pytest.raises(AdobeConfigurationError, match=reason) as raised,
    ):
        parts.write([table_of_file(lambda: io.BytesIO(content), file_format, "a file")])  # type: ignore[arg-type]
    assert len(str(raised.value)) < 3000


@pytest.mark.parametrize("identifier", [None, True, 1.5, [], {}, "", " ", "a\u200bb", "x" * 2001])
def test_what_is_no_id_is_not_taken_for_one(identifier: object) -> None:
    body = {"id": identifier, "status": "loading", "audienceId": "a"}
    create = experience_platform.create_batch("ds", input_format="json")
    with pytest.raises(ValueError, match="the batch's id is "):
        create.parse(Response(201, {}, json.dumps(body).encode()))
    listed = Response(200, {}, json.dumps({"children": [body]}).encode())
    if not identifier:
        assert experience_platform.list_audiences().parse(listed).audiences[0].id is None
        return
    with pytest.raises(ValueError, match="the audience's id is "):
        experience_platform.list_audiences().parse(listed)


def test_huge_numbers_in_answers_are_told_not_raised() -> None:
    for body in (
        '{"data": [{"name": "x", "length": 1e400}]}',
        '{"data": [{"name": "x", "length": ' + "9" * 5000 + "}]}",
    ):
        with pytest.raises((ValueError, ArithmeticError)):
            experience_platform.list_failed_files("b").parse(Response(200, {}, body.encode()))
    assert json.loads("1e400") == float("inf")
