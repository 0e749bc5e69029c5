# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in, only an AdobeError comes out: every parser of answers and every reader of files. Always
the same examples.
"""

# ruff: noqa: PT017  that nothing is raised is as good here
from __future__ import annotations

import ast
import inspect
import io
import json
import logging
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences import text as outside
from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client import policy, problems
from airflow_provider_adobe_audiences.adobe.client.call import Response
from airflow_provider_adobe_audiences.adobe.client.limiter import Limiter
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, DesiredStateError
from airflow_provider_adobe_audiences.groups import spec
from airflow_provider_adobe_audiences.groups.document import parse
from airflow_provider_adobe_audiences.profiles.encode import Columns
from airflow_provider_adobe_audiences.profiles.parts import Parts
from airflow_provider_adobe_audiences.profiles.rows import table_of_file, table_of_rows
from tests.security.calls import MAKERS, MODULES, Maker, settings
from tests.security.fuzz import FUZZ, FUZZ_A_LITTLE

WORDS = sorted(
    {
        node.value
        for module in (*MODULES, problems)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    }
)
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan")]
)
TEXTS = st.sampled_from(
    ["", " ", "7", "-7", "1e400", "\u0667", "²", "true", "x" * 600, "\ud800", "a\nb", "\x1b[2J", "https://["]
) | st.text(max_size=8)
KEYS = st.sampled_from(WORDS) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
STATUSES = st.sampled_from(
    [200, 200, 200, 200, 201, 204, 206, 301, 400, 401, 403, 404, 409, 429, 500, 503, 599]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "range", "x-request-id", "x-debug-id", "content-type", "location"]),
    st.text(st.characters(codec="latin-1"), max_size=20)
    | st.sampled_from(["bytes=0-9", "bytes=0-" + "9" * 5000, "Fri, 01 Jan 99999999999 00:00:00 GMT"]),
    max_size=3,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Answering(AdobeSession):
    """A session whose network is one prepared answer: everything else of it is real."""

    answer = Response(200)

    def _exchange(self, request: Any, target: Any) -> Response:
        return self.answer

    def _limiter(self, call: Any) -> Limiter:
        return Limiter()  # no pause after a 429


def shapes(maker: Maker) -> Iterator[Any]:
    """Return what the parser asks for, one word after the other, so that the examples reach its depths."""
    source = inspect.getsource(inspect.getmodule(maker.function))  # type: ignore[arg-type]
    names = [word for word in WORDS if f'"{word}"' in source]
    hostile = [
        None,
        True,
        -1,
        10**400,
        1e400,
        float("nan"),
        "",
        "x",
        "²",
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        "x" * 5000,
    ]
    generator = random.Random(maker.name)
    for _ in range(20):
        whole = {name: generator.choice(hostile) for name in names if generator.random() < 0.7}
        for name in (
            "children",
            "list",
            "data",
            "accessToken",
            "metrics",
            "relatedObjects",
            "errors",
            "harmless7",
            "_page",
        ):
            if generator.random() < 0.5:
                part = {inner: generator.choice(hostile) for inner in names if generator.random() < 0.7}
                whole[name] = part if generator.random() < 0.5 else [part, dict(part)]
        yield whole
        yield [whole]
        yield {"harmless7": whole, "id": "harmless7"}


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_a_parser_lets_nothing_out_but_adobe_errors(maker: Maker) -> None:
    call = maker()
    oauth = settings(authentication="oauth_server_to_server", access_token=None, client_secret="the-secret")
    with Answering(oauth if call.service == "Adobe IMS" else settings()) as session:
        for number, body in enumerate(shapes(maker)):
            session.answer = Response((200, 200, 404, 400)[number % 4], {}, json.dumps(body).encode())
            try:
                session.send(call)
            except AdobeError as error:
                assert error.hint
                assert len(str(error)) < 3000
        _fuzz(session, call)


def _fuzz(session: Answering, call: Any) -> None:
    @given(
        status=STATUSES,
        headers=HEADERS,
        body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
    )
    @FUZZ_A_LITTLE
    @example(status=200, headers={}, body=b"[" * 100_000)
    @example(status=200, headers={}, body=b'{"a":' * 900 + b"1" + b"}" * 900)
    @example(status=200, headers={}, body=b"\xff\xfe\x00")
    @example(status=200, headers={}, body=b"9" * 5000)
    @example(status=200, headers={}, body=b'<?xml version="1.0" encoding="foo"?><response/>')
    def answers(status: int, headers: dict[str, str], body: bytes) -> None:
        session.answer = Response(status, headers, body)
        try:
            session.send(call)
        except AdobeError as error:
            assert error.hint
            assert not outside._UNSEEN.search(str(error))

    answers()


@given(
    status=st.integers(100, 999),
    headers=HEADERS,
    body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(),
)
@FUZZ
def test_the_reader_of_problems_never_fails(status: int, headers: dict[str, str], body: bytes) -> None:
    problem = problems.read_problem(Response(status, headers, body))
    assert problem.message
    for text in (problem.message, problem.code or "x", problem.request_id or "x"):
        assert len(text) <= 501
        assert not outside._UNSEEN.search(text)
        assert "\n" not in text
        text.encode()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"errors":', b'{"data":'])
def test_the_reader_of_problems_survives_every_depth(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    for depth in (*range(1, 1100, 7), 50_000):
        assert problems.read_problem(Response(400, {}, opening * depth + b"1" + closing * depth)).message


@given(
    value=st.text()
    | st.from_regex(
        r"\A[A-Z][a-z]{2}, \d{1,12} [A-Z][a-z]{2} \d{1,12} \d\d:\d\d:\d\d ([A-Z]{3}|[+-]\d{1,9})\Z"
    )
)
@example(value="Fri, 01 Jan 99999999999 00:00:00 GMT")
@example(value="9" * 10_000)
@FUZZ
def test_retry_after_is_a_number_or_nothing(value: str) -> None:
    after = policy.retry_after({"retry-after": value})
    assert after is None or after >= 0


@given(fields=st.dictionaries(st.sampled_from([*AdobeSettings.model_fields, "unknown"]), VALUES, max_size=8))
@FUZZ
def test_settings_are_good_or_explained(fields: dict[str, Any]) -> None:
    given_secrets = [
        fields[name]
        for name in ("client_secret", "access_token", "user_password")
        if isinstance(fields.get(name), str)
    ]
    try:
        assert isinstance(AdobeSettings.of(fields), AdobeSettings)
    except AdobeConfigurationError as error:
        assert not [secret for secret in given_secrets if len(secret) > 20 and secret in str(error)]


XML_WORDS = [
    "response",
    "success",
    "true",
    "false",
    "batchStatus",
    "status",
    "profile",
    "id",
    "message",
    "complete",
    "batchId",
    "batchSize",
]
XML = st.lists(
    st.sampled_from(
        [f"<{word}>" for word in XML_WORDS]
        + [f"</{word}>" for word in XML_WORDS]
        + [
            "x",
            "1",
            "&amp;",
            "&lt;",
            "&a;",
            "&#0;",
            "&#x1b;",
            "&#x202e;",
            "<![CDATA[a]]>",
            "<!-- a -->",
            "<?a b?>",
            "<a b='c'/>",
        ]
        + [
            "<!DOCTYPE a [<!ENTITY a 'b'>]>",
            '<?xml version="1.0" encoding="utf-7"?>',
            "\ufeff",
            "]]>",
            "<",
            ">",
        ]
    ),
    max_size=14,
)


@given(
    body=st.binary()
    | XML.map(lambda parts: ("<response>" + "".join(parts)).encode())
    | XML.map(lambda parts: "".join(parts).encode("utf-16"))
)
@example(body=b'<?xml version="1.0" encoding="foo"?><response/>')
@FUZZ
def test_the_xml_reader_reads_or_says_why_not(body: bytes) -> None:
    try:
        answer = target.read_xml(body)
    except (ValueError, LookupError):  # both become AdobeResponseError, as the test of the parsers shows
        return
    assert all(not outside._UNSEEN.search(value) and "\n" not in value for value in answer.fields.values())


YAML = st.lists(
    st.sampled_from(
        [
            *(
                "groups:",
                "\n",
                "  ",
                "- ",
                "name: ",
                "a",
                "permissions: ",
                "[",
                "]",
                "{",
                "}",
                ",",
                ": ",
                "&a ",
                "*a",
                "!!int ",
                "!!str ",
            ),
            *(
                "!!python/name:os.system ",
                "0x" + "f" * 50,
                "1:10:10",
                "9" * 5000,
                ".inf",
                ".nan",
                "~",
                "'",
                '"',
                "\\",
                "<<: ",
                "---",
                "...",
            ),
            *(
                "|",
                ">",
                "#",
                "\t",
                "\u2028",
                "objectType: SEGMENT",
                "objectId: ",
                "groupId: ",
                "users: ",
                "wildcards: ",
                "description: ",
            ),
            *("previously: ", "2026-01-01", "? ", "%YAML 1.1"),
        ]
    ),
    max_size=25,
)


def _load(content: bytes, name: str = "groups.yaml") -> None:
    try:
        assert spec.load(parse(content, name)).groups is not None
    except DesiredStateError as error:
        assert error.hint
        str(error).encode()


@given(parts=YAML)
@FUZZ
def test_a_document_of_groups_is_good_or_explained(parts: list[str]) -> None:
    _load("".join(parts).encode())


@given(content=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps({"groups": value}).encode()))
@FUZZ
def test_any_bytes_and_any_json_are_no_more(content: bytes) -> None:
    _load(content)
    _load(content, "groups.json")


@given(
    value=VALUES
    | st.fixed_dictionaries(
        {
            "groups": st.lists(
                st.dictionaries(st.sampled_from([*chain.from_iterable(spec._KEYS)]), VALUES), max_size=3
            )
        }
    )
)
@FUZZ
def test_a_value_from_an_upstream_task_is_good_or_explained(value: Any) -> None:
    try:
        assert spec.load_value(value).groups is not None
    except DesiredStateError as error:
        assert error.hint


def _decoded(body: bytes) -> list[list[str]]:
    """An independent reader of the bulk body, by the letter of RFC 3986."""
    assert body.startswith(b"batch=")
    rows = []
    for line in body.removeprefix(b"batch=").split(b"\n"):
        cells = []
        for cell in line.split(b","):
            assert not set(cell) - set(
                b"%-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
            ), cell
            first, *rest = cell.split(b"%")
            cells.append((first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)).decode())
        rows.append(cells)
    return rows


CELLS = st.text(max_size=8) | st.sampled_from(
    ["a,b", "a\nb", "a&batch=x", "%2C", "+", "\r\n", "\x00", '"', "=cmd()", "x" * 500]
)


@given(
    rows=st.lists(
        st.tuples(st.text(st.characters(exclude_characters="+/", codec="utf-8"), min_size=1), CELLS, CELLS),
        min_size=1,
        max_size=6,
    )
)
@FUZZ
def test_what_the_bulk_encoder_writes_another_reader_reads(rows: list[tuple[str, str, str]]) -> None:
    sources = [{"who": key, "first, one": first, "b&b": second} for key, first, second in rows]
    with Parts(Columns("thirdPartyId", "who")) as parts:
        try:
            written = parts.write([table_of_rows(sources)])
        except AdobeConfigurationError as error:
            expected = ("the key is empty", "holds a value", "the key begins or ends with")
            assert any(words in str(error) for words in expected)
            return
        with written[0].open() as body:
            [header, *cells] = _decoded(body.read())
    assert header == ["thirdPartyId", "first, one", "b&b"]
    assert [tuple(row) for row in cells] == rows


@given(
    content=st.binary(max_size=80)
    | st.lists(
        st.sampled_from(["a", "who", ",", "\n", '"', "\r", "\x00", "1", "{", "}", ":", '"who":"x"', "NaN"])
    ).map(lambda parts: "".join(parts).encode())
)
@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
@FUZZ
def test_a_source_of_profiles_is_good_or_explained(file_format: Any, content: bytes) -> None:
    with Parts(Columns("thirdPartyId", "who")) as parts:
        try:
            parts.write([table_of_file(lambda: io.BytesIO(content), file_format, "a file")])
        except AdobeConfigurationError as error:
            assert error.hint


def test_the_words_of_the_parsers_are_known() -> None:
    assert {"audienceId", "accessToken", "relatedObjects", "objectType", "batchsize", "errorCode"} <= set(
        WORDS
    )
    assert Path(problems.__file__).exists()
