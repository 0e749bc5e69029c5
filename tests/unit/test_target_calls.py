# SPDX-License-Identifier: Apache-2.0
"""Calls of Adobe Target: what they look like, and what their answers are read as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client.call import Content, Idempotency, Response
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.profiles import wait

STATUS = """<response><batchId>demo4-1</batchId><status>complete</status><batchSize>164</batchSize>
<consumedCount>164</consumedCount>
<successfulUpdates>160</successfulUpdates><profilesNotFound>0</profilesNotFound><failedUpdates>4</failedUpdates>
<profile><id>u1</id><status>failed</status></profile><profile><id>u2</id><status>success</status></profile>
<profile><id>u3</id><status>error</status></profile></response>"""
URL = "http://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=demo-1701473848678-13029383&m2Node=00"


def answer(body: str | bytes | dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(body) if isinstance(body, dict) else body
    return Response(status, {}, text.encode() if isinstance(text, str) else text)


def empty() -> Content:
    import io

    return Content(lambda: io.BytesIO(b""), 0)


def test_the_token_calls_are_those_of_the_reference(shared: Path) -> None:
    reference = json.loads((shared / "specs/target-admin-api.json").read_text())["paths"][
        "/{tenant}/target/authentication/token"
    ]
    for call, method in ((target.get_profile_token("t"), "get"), (target.create_profile_token("t"), "post")):
        (parameter,) = reference[method]["parameters"]
        assert [name for name, _ in call.params] == [parameter["name"]]
        assert call.params[0][1] in parameter["schema"]["enum"]
        assert call.path == "/t/target/authentication/token"
        assert target.MEDIA_TYPE in next(
            iter(reference[method]["responses"][{"get": "200", "post": "201"}[method]]["content"])
        )


def test_creating_a_token_is_never_repeated_by_the_transport() -> None:
    assert target.create_profile_token("t").idempotency is Idempotency.CREATE
    assert target.submit_profile_batch("c", empty(), None).idempotency is Idempotency.CREATE
    assert target.get_profile_token("t").idempotency is Idempotency.READ


def test_a_token_is_read_and_never_shown() -> None:
    body = {
        "accessToken": "aaaabbbb-1111",
        "tokenType": "bearer",
        "scope": "profile_api",
        "expiresIn": 7775999,
    }
    token = target.create_profile_token("t").parse(answer(body, 201))
    assert (token.value, token.expires_in, token.scope) == ("aaaabbbb-1111", 7775999, "profile_api")
    assert "aaaabbbb" not in repr(token)
    assert target.get_profile_token("t").parse(answer({"httpStatus": 404}, 404)) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '"aaaabbbb"',
        '{"accessToken": "aaaabbbb"}',
        '{"accessToken": "aaaabbbb\\r\\nX: y", "expiresIn": 1}',
    ],
)
def test_an_answer_that_holds_no_usable_token_is_not_quoted(body: str) -> None:
    with pytest.raises(ValueError, match="accessToken") as error:
        target.create_profile_token("t").parse(answer(body, 201))
    assert "aaaabbbb" not in str(error.value)


def test_bulk_urls_differ_by_version_only() -> None:
    assert target.submit_profile_batch("c", empty(), None, 2).path == "/m2/c/v2/profile/batchUpdate"
    assert target.submit_profile_batch("c", empty(), None, 1).path == "/m2/c/profile/batchUpdate"


def test_an_accepted_batch_keeps_its_status_url_as_it_is() -> None:
    url = URL.replace("&", "&amp;")
    body = (
        f"<response><success>true</success>\n<batchStatus>{url}</batchStatus><message>Batch "
        "submitted</message></response>"
    )
    batch = target.submit_profile_batch("c", empty(), None).parse(answer(body))
    assert batch == target.ProfileBatch("demo-1701473848678-13029383", URL)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Forbidden", AdobeAuthenticationError),
        ("Invalid access token", AdobeAuthenticationError),
        ("The file is larger than 50 MB", AdobeValidationError),
        ("", AdobeValidationError),
    ],
)
def test_success_false_is_an_error_whatever_the_status(message: str, kind: type[Exception]) -> None:
    body = f"<response><success>false</success><batchStatus/><message>{message}</message></response>"
    for call in (
        target.submit_profile_batch("c", empty(), None),
        target.get_profile_batch_status(URL, None),
        target.update_profile("c", {"a": "b"}, mbox_pc="1"),
    ):
        with pytest.raises(kind):
            call.parse(answer(body))


def test_a_status_with_details() -> None:
    call = target.get_profile_batch_status(URL, "t")
    assert call.url == f"{URL}&showDetails=true"
    status = call.parse(answer(STATUS))
    assert status == target.ProfileBatchStatus("demo4-1", "complete", 164, 164, 160, 0, 4, ("u1", "u3"))
    assert status.state.is_terminal


@pytest.mark.parametrize(
    ("word", "ended"),
    [("incomplete", False), ("Complete", True), ("stuck", True), ("failed", True), ("queued", False)],
)
def test_which_words_end_the_waiting(word: str, ended: bool) -> None:
    status = target.get_profile_batch_status(URL, None).parse(
        answer(f"<response><status>{word}</status></response>")
    )
    assert status.state.is_terminal is ended
    assert status.failed is None


def test_a_forgotten_batch_says_so() -> None:
    with pytest.raises(AdobeNotFoundError, match="remembers the status of the last ten"):
        target.get_profile_batch_status(URL, None).parse(answer("<html/>", 404))


# ------------------------------------------------------------------------------------------------------------
# XML

BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
BOMB += "<response><status>&b;</status></response>"


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        '<!DOCTYPE r SYSTEM "file:///etc/passwd"><response/>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><response><status>&x;</status></response>',
        "<response>" + "<a>" * 50,
        "<html><body>proxy</body></html>",
        "{}",
        "",
        "<response><status>complete</status>",
        "<response>&nope;</response>",
        "<response>\x00</response>",
    ],
)
def test_xml_that_is_not_adobes_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        target.read_xml(body.encode())


def test_a_list_of_many_failed_profiles_takes_no_memory() -> None:
    body = (
        "<response><status>complete</status>"
        + "<profile><id>u</id><status>failed</status></profile>" * 50_000
        + "</response>"
    )
    read = target.read_xml(body.encode())
    assert len(read.failed_ids) == 20
    assert read.fields == {"status": "complete"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        target.read_xml(body)
    except ValueError:
        return
    assert body.lstrip()[:1] in (b"<", b"\xef", b"\xff", b"\xfe", b"\x00")


# ------------------------------------------------------------------------------------------------------------
# judgement

BATCH = {"batch_id": "b", "status_url": URL, "rows": 10}


def ended(**fields: Any) -> dict[str, Any]:
    return wait.outcome(
        BATCH,
        target.ProfileBatchStatus(**({"batch_id": "b", "status": "complete"} | fields)),
        show_values=True,
    )


def test_complete_is_judged_by_its_counts() -> None:
    two_failed = ended(batch_size=10, successful=8, failed=2, not_found=0, failed_ids=("u1", "u2"))
    wait.check_outcome([two_failed], 2, None)
    with pytest.raises(AdobeJobFailedError, match=r"2 rows failed \(such as u1, u2\) in b; 1 are acceptable"):
        wait.check_outcome([two_failed], 1, None)


def test_failures_are_counted_over_all_batches() -> None:
    one = ended(failed=1, not_found=3)
    wait.check_outcome([one, one], 2, 6)
    with pytest.raises(AdobeJobFailedError, match="2 rows failed"):
        wait.check_outcome([one, one], 1, None)
    with pytest.raises(AdobeJobFailedError, match="6 profiles were not found"):
        wait.check_outcome([one, one], None, 5)


def test_a_count_that_is_missing_is_worked_out_or_not_accepted() -> None:
    assert ended(batch_size=10, successful=7, not_found=1)["failed"] == 2
    with pytest.raises(AdobeJobFailedError, match="does not say how many rows failed"):
        wait.check_outcome([ended()], 0, None)
    wait.check_outcome([ended()], None, None)


@pytest.mark.parametrize("word", ["stuck", "failed", "incomplete"])
def test_anything_but_complete_is_a_failure(word: str) -> None:
    with pytest.raises(AdobeJobFailedError, match=f"ended as '{word}'"):
        wait.check_outcome([ended(status=word, failed=0)], None, None)


# ------------------------------------------------------------------------------------------------------------
# single profiles


def test_a_single_update_takes_one_identity_and_60_kb() -> None:
    call = target.update_profile(
        "c", {"tier": "gold", "profile.age": "7"}, third_party_id="u1", path_name="client"
    )
    assert call.path == "/m2/client/profile/update"
    assert call.form == {"mbox3rdPartyId": "u1", "profile.tier": "gold", "profile.age": "7"}
    with pytest.raises(AdobeConfigurationError, match="either"):
        target.update_profile("c", {}, third_party_id="u1", mbox_pc="1")
    with pytest.raises(AdobeConfigurationError, match="60 KB"):
        target.update_profile("c", {"a": "x" * 62_000}, mbox_pc="1")


@pytest.mark.parametrize(
    ("kind", "path"),
    [("tntId", "/rest/v1/profiles/a%20b"), ("thirdPartyId", "/rest/v1/profiles/thirdPartyId/a%20b")],
)
def test_a_profile_is_fetched_by_its_kind_of_id(kind: Any, path: str) -> None:
    call = target.fetch_profile("c", "a b", kind, "t")
    assert (call.path, call.params, call.bearer) == (path, [("client", "c")], SecretStr("t"))
    assert call.parse(answer({"status": 404}, 404)) is None
