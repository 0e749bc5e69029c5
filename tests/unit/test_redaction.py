# SPDX-License-Identifier: Apache-2.0
"""A secret is recognised in every form in which somebody may have written it."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import threading
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.redaction import Redactor, all_forms, written_forms
from airflow_provider_adobe_audiences.adobe.client.request import RequestBuilder
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeServerError
from tests.security.fuzz import FUZZ

SECRETS = [
    "p8e-plain-secret",
    'q"uo\\te\tsecret',
    "sp ace+plus/slash&amp<x>",
    "ümlaut-€-secret",
    "'single' quotes",
]

WRITTEN: dict[str, Callable[[str], str]] = {
    "raw": str,
    "in a text": lambda secret: f"client_secret={secret}&x",
    "quote": quote,
    "quote, all of it": lambda secret: quote(secret, safe=""),
    "quote, lower case": lambda secret: "".join(
        part.lower() if part.startswith("%") else part for part in split_hex(quote(secret, safe=""))
    ),
    "form": lambda secret: urlencode({"client_secret": secret}),
    "quote_plus": quote_plus,
    "JSON": lambda secret: json.dumps({"x": secret}),
    "JSON in UTF-8": lambda secret: json.dumps({"x": secret}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps({"message": json.dumps({"x": secret})}),
    "JSON in JSON in JSON": lambda secret: json.dumps([json.dumps([json.dumps([secret])])]),
    "JSON of PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "repr": repr,
    "HTML": html.escape,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "Basic": lambda secret: base64.b64encode(f"client:{secret}".encode()).decode(),
    "Basic with a longer id": lambda secret: base64.b64encode(f"client-2:{secret}".encode()).decode(),
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    "UTF-16 read as Latin-1": lambda secret: secret.encode("utf-16-le").decode("latin-1"),
    "UTF-16 in JSON": lambda secret: json.dumps(secret.encode("utf-16-le").decode("latin-1")),
}


def split_hex(text: str) -> list[str]:
    head, *parts = text.split("%")
    return [head, *(piece for part in parts for piece in (f"%{part[:2]}", part[2:]))]


def left_of(secret: str, text: str) -> int:
    """Return how many characters of the longest form of ``secret`` are found in ``text`` in a row."""
    return max(
        (size for form in all_forms(secret) for size in range(6, len(form)) if form[:size] in text), default=0
    )


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("secret", SECRETS)
def test_every_form_is_taken_out(secret: str, form: str) -> None:
    if form.startswith("UTF-16") and not secret.isascii():
        pytest.skip("Latin-1 reads it as other characters")
    redactor = Redactor()
    redactor.learn(SecretStr(secret))
    text = WRITTEN[form](secret)
    clean = redactor.text(f"before {text} after")
    assert "***" in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert left_of(secret, clean) == 0, clean
    response = redactor.response(Response(400, {"x": text}, text.encode()))
    assert left_of(secret, response.headers["x"] + response.text) == 0


@given(st.text(min_size=8, max_size=30), st.text(max_size=9), st.text(max_size=9))
@FUZZ
def test_whatever_the_secret_is_base64_around_it_hides_it(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.learn(secret)
    raw = (before + secret + after).encode("utf-8", "surrogatepass")
    assert "***" in redactor.text(base64.b64encode(raw).decode())
    assert "***" in redactor.text(raw.hex())


def test_a_short_secret_is_taken_out_as_it_is_only() -> None:
    assert all_forms("abc") == ("abc",)


def test_what_is_learned_is_told_once_as_it_may_be_written() -> None:
    told: list[list[str]] = []
    redactor = Redactor(["the-first-secret"], told.append)
    for _ in range(2):
        redactor.learn("a secret/with signs")
        redactor.learn("")
    assert told == [list(written_forms("a secret/with signs"))]


def within(seconds: float, work: Callable[[], None]) -> bool:
    """Return whether it ends in time; it may hang for ever."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_whoever_is_told_a_secret_may_let_others_learn_meanwhile() -> None:
    told: list[str] = []

    def on_secret(forms: list[str]) -> None:
        told.append(forms[0])
        if len(told) == 1:
            redactor.learn("another-secret")

    redactor = Redactor(on_secret=on_secret)
    assert within(10, lambda: redactor.learn("the-first-secret"))
    assert told == ["the-first-secret", "another-secret"]
    assert redactor.text("the-first-secret, another-secret") == "***, ***"


def test_triggers_of_one_thread_that_learn_one_secret_do_not_wait_for_each_other() -> None:
    """As in Airflow's triggerer, where a message to its supervisor lets other triggers run."""
    greenback = pytest.importorskip("greenback")
    redactor = Redactor(on_secret=lambda _: greenback.await_(asyncio.sleep(0)))

    async def trigger() -> None:
        await greenback.ensure_portal()
        redactor.learn("a-secret-of-both")

    async def both() -> None:
        await asyncio.gather(trigger(), trigger())

    assert within(10, lambda: asyncio.run(both()))
    assert redactor.text("a-secret-of-both") == "***"


def test_an_error_is_cleaned_in_all_its_texts_and_its_cause() -> None:
    redactor = Redactor(["the-secret-value"])
    error = AdobeServerError(
        "m the-secret-value", code="the-secret-value", hint="h the-secret-value", path="/x"
    )
    error.batch_id = "the-secret-value"
    error.__cause__ = AdobeServerError("c the-secret-value")
    redactor.error(error)
    assert "the-secret-value" not in json.dumps(error.as_json())
    assert error.args == ("m ***",)


def builder(secret: str) -> RequestBuilder:
    settings = AdobeSettings.of(
        {"client_id": "c", "client_secret": secret, "org_id": "0123456789ABCDEF01234567@AdobeOrg"}
    )
    return RequestBuilder(settings, Redactor(settings.secrets()))


def call(**details: object) -> Call[None]:
    given = {"method": "POST", "path": "/x", "parse": no_content, "name": "do it"}
    return Call(service=Service.EXPERIENCE_PLATFORM, idempotency=Idempotency.READ, **{**given, **details})


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"json": {"a": [{"b": ("x", f"<{text}>")}]}},
        lambda text: {"json": {text: 1}},
        lambda text: {"json": text},
        lambda text: {"json": json.dumps({"settings": text})},
        lambda text: {"form": {"a": text}},
        lambda text: {"params": [("a", f"x{text}")]},
        lambda text: {"path": f"/{quote(text, safe='')}"},
    ],
)
def test_a_secret_of_the_connection_is_not_sent_wherever_it_stands(
    secret: str, place: Callable[[str], dict[str, object]]
) -> None:
    with pytest.raises(AdobeConfigurationError, match="holds a secret of the connection") as raised:
        builder(secret).build(call(**place(secret)), None, "id")
    assert left_of(secret, str(raised.value)) == 0


def test_what_is_no_secret_is_sent() -> None:
    assert (
        builder("a-secret-value").build(call(json={"a": "a-secret"}), None, "id").body == b'{"a":"a-secret"}'
    )


def test_a_long_token_costs_the_masker_of_airflow_one_text() -> None:
    # It compiles all that it knows anew with each text: with every encoding, half a second for each task.
    token, told = "eyJ0." + "aB3-_" * 300, []
    redactor = Redactor(["a client secret"], told.append)
    redactor.learn(token)
    assert told == [[token]]
    assert token.encode().hex() not in redactor.text(f"a proxy said {token.encode().hex()}")
