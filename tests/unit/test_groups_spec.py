# SPDX-License-Identifier: Apache-2.0
"""Desired files: what is accepted, and how the message about a bad one reads."""

from __future__ import annotations

import io
import json
import re
import time

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.audience_manager import OBJECT_PERMISSIONS, Permission
from airflow_provider_adobe_audiences.errors import DesiredStateError
from airflow_provider_adobe_audiences.groups import document
from airflow_provider_adobe_audiences.groups.document import parse, read
from airflow_provider_adobe_audiences.groups.names import canonical_name, canonical_permissions
from airflow_provider_adobe_audiences.groups.spec import json_schema, load, load_permissions, load_value

GOOD = """\
# the groups of EMEA
groups:
  - name: EMEA Analysts
    previously: [EU Analysts]
    description: null
    permissions:
      - {objectType: TRAIT, objectId: 1496, permissions: [READ]}
      - objectType: DESTINATION
        objectId: 7
        permissions:
          - READ
          - WRITE
    wildcards: [VIEW_ALL_SIGNALS, PTRREPORTS]
    users: [1, 2]
  - name: "2024"
    groupId: 12
    permissions: []
"""


def error_of(text: str | bytes, source: str = "groups.yaml") -> str:
    with pytest.raises(DesiredStateError) as caught:
        load(parse(text if isinstance(text, bytes) else text.encode(), source))
    assert not caught.value.transient
    return str(caught.value)


def test_a_good_file_is_read():
    desired = load(parse(GOOD.encode(), "groups.yaml"))

    first, second = desired.groups
    assert (first.name, first.previously, first.manages_description, first.description) == (
        "EMEA Analysts",
        ("EU Analysts",),
        True,
        None,
    )
    assert first.rows == (
        Permission("DESTINATION", 7, ("READ", "WRITE")),
        Permission("TRAIT", 1496, ("READ",)),
    )
    assert first.users == (1, 2)
    assert (second.name, second.group_id, second.rows, second.manages_description) == ("2024", 12, (), False)


GROUP = '{"name": "A", "permissions": [{"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}]}'


@pytest.mark.parametrize(
    "text",
    [
        f'{{"groups": [{GROUP}]}}',
        f'\n {{"groups":\n[\n{GROUP},\n{GROUP}]}}',
        '{"groups": [{"name": "A", "groupId": -0}]}',
        '{"groups": [{"name": "A", "groupId": 1e3}]}',
        '{"groups": [{"name": "A", "groupId": NaN}]}',
        f'{{"groups": [{{"name": "A", "groupId": {"1" * 101}}}]}}',
        f'{{"groups": [{{"name": "A", "groupId": {"1" * 5000}}}]}}',
        '{"groups": [\n{"name": "A",\n"name": "B"}]}',
        '{"groups": [{"name": "A\x7f"}]}',
        '{"groups": [{"name": "A\\u0085 \\ud83d\\ude00 \\/"}]}',
        '{"groups": [{"name": "\u00c4\u2028"}]}',
        f'{{"groups": {"[" * 40}{"]" * 40}}}',
        f'{{"groups": {"[" * 100_000}{"]" * 100_000}}}',
        f'{{"groups": [{{"name": "A", "users": [{"1," * 2_000_000}1]}}]}}',
        '{"groups": [{"name": "A", "<<": 1}]}',
        '{"groups": [{"name": 1}, {"name": true}, {"name": null}, []]}',
        "[1]",
        "{}",
        '{"groups": [}',
    ],
    ids=lambda text: text[:60],
)
@pytest.mark.parametrize("source", ["groups.json", "groups"])
def test_plain_json_is_read_as_it_is_with_its_lines(
    text: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome() -> object:
        try:
            return load(parse(text.encode(), source))
        except DesiredStateError as error:
            return str(error)

    quickly = outcome()
    monkeypatch.setattr(document, "_plain_json", lambda text: None)
    assert quickly == outcome()


def test_json_is_read_as_well_with_tabs_and_characters_in_two_halves():
    text = '{\n\t"groups": [\n\t\t{"name": "A \\ud83d\\ude00 \\/ \\\\ud83d", "permissions": []}\n\t]\n}'

    assert load(parse(text.encode(), "groups.json")).groups[0].name == "A 😀 / \\ud83d"
    assert parse(text.encode(), "x").value == json.loads(text)


def test_an_alias_may_repeat_a_value():
    text = (
        "groups:\n  - {name: A, permissions: &p [{objectType: TRAIT, objectId: 1, permissions: [READ]}]}\n  "
        "- {name: B, permissions: *p}\n"
    )

    first, second = load(parse(text.encode(), "g.yaml")).groups

    assert first.rows == second.rows == (Permission("TRAIT", 1, ("READ",)),)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "groups:\n  - name: A\n  - name: A\n",
            3,
            ["groups[1].name", "'A' is already used by groups[0].name"],
        ),
        (
            "groups:\n  - name: A\n    previously: [B]\n  - name: B\n",
            4,
            ["already used by groups[0].previously[0]"],
        ),
        ("groups:\n  - name: A\n    previously: [A]\n", 3, ["already used by the same group"]),
        ("groups:\n  - name: R&D\n  - name: R&amp;D\n", 3, ["already used"]),
        (
            "groups:\n  - {name: A, groupId: 1}\n  - {name: B, groupId: 1}\n",
            3,
            ["1 is already the groupId of groups[0]"],
        ),
        ("groups:\n  - name: A\n    name: B\n", 3, ["the key 'name' is written twice", "line 2"]),
        ("version: 1\ngroups: []\n", 1, ["version", "the key is not known"]),
        ("groups:\n  - name: null\n", 2, ["groups[0].name", "it has no value", "write them in quotes"]),
        ("groups:\n  - nme: A\n", 2, ["groups[0].nme", "not known", "did you mean name?"]),
        ("groups:\n  - description: A\n", 2, ["groups[0].name: is missing"]),
        ("groups:\n  - name: NO\n", 2, ["must be text: write it in quotes", "bool False"]),
        ("groups:\n  - name: 12\n", 2, ["must be text: write it in quotes"]),
        ("groups:\n  - name: '  '\n", 2, ["is blank"]),
        ('groups:\n  - name: "a\\nb"\n', 2, ["characters that cannot be seen"]),
        ("groups:\n  - name: A\n    permissions:\n", 3, ["has no value", "[]"]),
        ("groups:\n  - name: A\n    groupId: 0\n", 3, ["greater than 0"]),
        ("groups: {}\n", 1, ["groups: must be a list, not dict"]),
        ("- name: A\n", 1, ["must be a mapping, not list"]),
        ("groups: []\nmore: 1\n", 2, ["more: the key is not known"]),
        ("", None, ["the file is empty", "groups: []"]),
        ("groups: []\n---\ngroups: []\n", 2, ["a second document begins here"]),
        ("groups:\n\t- name: A\n", 2, ["a tab is used for indentation"]),
        ("groups:\n  - name: A\n\t  description: B\n", 3, ["a tab is used for indentation"]),
        ("groups: [a, b\nx: 1\n", 2, ["not valid YAML"]),
        ("groups:\n  - name: !!python/object:os.system x\n", 2, ["the tag", "is not allowed"]),
        ("groups:\n  - name: !mine x\n", 2, ["the tag", "is not allowed"]),
        ("groups:\n  - &a {name: A}\n  - {<<: *a, name: B}\n", 3, ["merge keys"]),
        ("groups: &a [*a]\n", 1, ["anchor &a is not defined above"]),
        ("groups: *nowhere\n", 1, ["the anchor &nowhere is not defined"]),
        ("? [a]\n: 1\n", 1, ["a key must be a plain word"]),
        ("groups: !!int abc\n", 1, ["cannot be read as int"]),
        ("groups: \x00\n", 1, ["not valid YAML", "control characters"]),
        (b"groups:\n  - name: M\xfcnchen\n", 2, ["not UTF-8", "0xfc"]),
        pytest.param("[" * 1_000_000, 1, ["nested too deeply"], id="a million brackets"),
        ('{"groups": [{"name": "A" "description": null}]}', 1, ["not valid"]),
    ],
)
def test_a_bad_file_is_explained_with_its_line(text, line, words):
    message = error_of(text)

    assert f"groups.yaml:{line}:" in message if line else "groups.yaml:" in message
    for word in words:
        assert word in message
    assert "nothing was sent" in message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            "{objectType: TRIAT, objectId: 1, permissions: [READ]}",
            ["'TRIAT' is not one of", "did you mean TRAIT?"],
        ),
        (
            "{objectType: TAGS, objectId: 1, permissions: [READ]}",
            ["TAGS has no permissions on single objects", "VIEW_TAGS"],
        ),
        (
            "{objectType: TRAIT, objectId: 1, permissions: [RAED]}",
            ["'RAED' is not a permission on a TRAIT", "did you mean READ?"],
        ),
        (
            "{objectType: SEGMENT, objectId: 1, permissions: [MAP_TO_SEGMENTS]}",
            ["is not a permission on a SEGMENT"],
        ),
        (
            '{objectType: TRAIT, objectId: "1", permissions: [READ]}',
            ["must be a number: write 1 without quotes"],
        ),
        ("{objectType: TRAIT, objectId: 1.5, permissions: [READ]}", ["must be a whole number"]),
        ("{objectType: TRAIT, objectId: true, permissions: [READ]}", ["must be a whole number"]),
        ("{objectType: TRAIT, objectId: -1, permissions: [READ]}", ["greater than 0"]),
        ("{objectType: TRAIT, objectId: 1, permissions: []}", ["is an empty list"]),
        ("{objectType: TRAIT, objectId: 1, permissions: READ}", ["must be a list, not str"]),
        ("{objectType: TRAIT, objectId: 1}", ["permissions: is missing"]),
        (
            "{objectType: TRAIT, objectId: 1, permissions: [VIEW_ALL_TRAITS]}",
            ["is a wildcard of the whole group", "below 'wildcards'"],
        ),
    ],
)
def test_a_bad_row_is_explained_with_its_line(row, words):
    message = error_of(f"groups:\n  - name: A\n    permissions:\n      - {row}\n")

    assert "groups.yaml:4: groups[0].permissions[0]" in message
    for word in words:
        assert word in message


def ids(written: str) -> str:
    return f"groups:\n  - name: A\n    users: [{written}]\n"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0123", "0123 is a number that YAML reads as 83 (octal,"),
        ("010", "010 is a number that YAML reads as 8"),
        ("0x1F", "0x1F is a number that YAML reads as 31"),
        ("0b11", "0b11 is a number that YAML reads as 3"),
        ("1:30", "1:30 is a number that YAML reads as 90"),
        ("1_000", "1_000 is a number that YAML reads as 1000"),
        ("+0x10", "reads as 16"),
        ("01496", "must be a number: write 1496, without leading zeros, not the text '01496'"),
        ("'01496'", "must be a number: write 1496, without leading zeros"),
        ("'1496'", "must be a number: write 1496 without quotes"),
        ("0o17", "must be a whole number, not '0o17'"),
        ("1e3", "must be a whole number, not '1e3'"),
        ("1496.0", "must be a whole number, not 1496.0"),
        ("1_4.0", "must be a whole number"),
        ("1:30.5", "must be a whole number"),
        (".inf", "must be a whole number"),
        ("\u0661\u0662", "must be a whole number"),
        ("'\u00b2'", "must be a whole number"),
        ("0", "greater than 0"),
        ("-5", "greater than 0"),
    ],
)
def test_an_id_is_decimal_or_refused_with_what_was_read(written, words):
    message = error_of(ids(written))

    assert "groups.yaml:3:" in message
    assert words in message


@given(
    st.one_of(
        st.from_regex(r"[-+]?(0[xX][0-9a-fA-F_]{1,8}|0[0-7_]{1,8}|0b[01_]{1,8})", fullmatch=True),
        st.from_regex(
            r"[-+]?[0-9][0-9_]{0,8}(:[0-5]?[0-9]){0,2}(\.[0-9_]{0,4})?([eE][-+]?[0-9])?", fullmatch=True
        ),
    )
)
def test_every_form_of_a_number_is_the_decimal_one_or_refused(written):
    try:
        (read,) = load(parse(ids(written).encode(), "g.yaml")).groups[0].users or ()
    except DesiredStateError:
        assert not re.fullmatch("[1-9][0-9]*", written)
    else:
        assert str(read) == written.removeprefix("+")


@pytest.mark.parametrize(
    "content",
    [
        b"root:$6$secret$hash:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        b"password: hunter2\nsecret_access_key: topsecret\n",
        b"hunter2: a\nhunter2: b\n",
        b"- hunter2\n- topsecret\n",
        b"hunter2",
        b"a: !hunter2topsecrethunter2topsecrethunter2topsecret x",
        b"a: 'hunter2\nb: topsecret\n",
        b"export AWS_SECRET=hunter2\n: topsecret\n",
        b"[default]\naws_secret_access_key = hunter2\n",
        b'{"hunter2": "topsecret"}',
        b"%hunter2 topsecret\n--- a",
        b"a: &topsecret-hunter2 b\nc: *hunter2-and-more-than-forty-characters-of-it-here\n",
    ],
)
def test_a_file_that_is_no_list_of_groups_is_refused_without_repeating_it(content):
    message = error_of(content, "/etc/anything")

    assert "hunter2topsecrethunter2topsecrethunter2topsecret" not in message
    for word in ("topsecret", "$6$", "19000"):
        assert word not in message


@pytest.mark.parametrize(
    ("wildcard", "words"),
    [
        ("READ", "not a wildcard: write it below 'permissions'"),
        ("VIEW_ALL_TRAIT", "did you mean VIEW_ALL_TRAITS?"),
    ],
)
def test_a_bad_wildcard_is_explained(wildcard, words):
    assert words in error_of(f"groups:\n  - name: A\n    wildcards: [{wildcard}]\n")


def test_all_problems_come_at_once_but_not_by_the_thousand():
    text = "groups:\n" + "  - nme: A\n" * 50

    message = error_of(text)

    assert "groups.yaml:2:" in message
    assert "groups.yaml:10:" in message
    assert "and 80 more" in message


def test_a_bomb_of_aliases_is_defused():
    layers = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    layers += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    started = time.monotonic()

    message = error_of("\n".join(layers))

    assert "more than 2,000,000 values" in message
    assert time.monotonic() - started < 5


def test_a_file_of_fifty_megabytes_is_refused_without_reading_all_of_it():
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            self.taken += len(piece)
            return piece

    file = Counting(b"# " + b"x" * 50_000_000)

    with pytest.raises(DesiredStateError, match="larger than 10 MB"):
        read(file, "groups.yaml")
    assert file.taken == document.MAX_BYTES + 1


def test_a_value_in_memory_is_checked_too():
    assert load_value({"groups": [{"name": "A"}]}).groups[0].name == "A"
    with pytest.raises(DesiredStateError, match=r"desired: groups\[0\].name: is missing"):
        load_value({"groups": [{}]})
    with pytest.raises(DesiredStateError, match="should be a mapping"):
        load_value(["A"])


def test_rows_of_permissions_are_checked_too():
    assert load_permissions([{"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}]) == (
        Permission("TRAIT", 1, ("READ",)),
    )
    with pytest.raises(DesiredStateError, match="should be a list"):
        load_permissions("TRAIT")
    with pytest.raises(DesiredStateError, match="objectType: is missing"):
        load_permissions([{"objectId": 1, "permissions": ["READ"]}])


def test_names_are_compared_as_people_see_them():
    assert canonical_name(" R&amp;D ") == canonical_name("R&D") == canonical_name("R&amp;amp;D") == "R&D"


def test_permissions_are_compared_merged_and_in_order():
    rows = [
        Permission("TRAIT", 2, ("WRITE",)),
        Permission("SEGMENT", 1, ("MAP_TO_DESTINATIONS",)),
        Permission("TRAIT", 2, ("READ", "WRITE")),
    ]

    assert canonical_permissions(rows) == (
        Permission("SEGMENT", 1, ("MAP_TO_DESTINATION",)),
        Permission("TRAIT", 2, ("READ", "WRITE")),
    )


def test_the_published_schema_is_the_one_of_the_model_and_agrees_with_it(repo):
    schema = json_schema()
    published = json.loads(
        (repo / "airflow_provider_adobe_audiences" / "groups" / "groups.schema.json").read_text()
    )

    assert published == schema, (
        "run: adobe-audiences groups schema > airflow_provider_adobe_audiences/groups/groups.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(parse(GOOD.encode(), "g").value)
    for kind, tokens in OBJECT_PERMISSIONS.items():
        assert validator.is_valid(
            {
                "groups": [
                    {
                        "name": "A",
                        "permissions": [{"objectType": kind, "objectId": 1, "permissions": list(tokens)}],
                    }
                ]
            }
        )
    for bad in (
        {"groups": [{"name": 1}]},
        {"groups": [{"name": "A", "permissions": None}]},
        {
            "groups": [
                {
                    "name": "A",
                    "permissions": [{"objectType": "TRAIT", "objectId": "1", "permissions": ["READ"]}],
                }
            ]
        },
        {
            "groups": [
                {
                    "name": "A",
                    "permissions": [
                        {"objectType": "DESTINATION", "objectId": 1, "permissions": ["MAP_TO_MODELS"]}
                    ],
                }
            ]
        },
        {
            "groups": [
                {"name": "A", "permissions": [{"objectType": "TAGS", "objectId": 1, "permissions": ["READ"]}]}
            ]
        },
        {"groups": [{"name": "A", "colour": "red"}]},
        {},
    ):
        assert not validator.is_valid(bad)
