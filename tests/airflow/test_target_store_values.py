# SPDX-License-Identifier: Apache-2.0
"""What a store does to values that are not only its own, and what its client may not log."""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.stores import (
    AirflowConnectionStore,
    AirflowVariableStore,
    AwsSecretsManagerStore,
    AzureKeyVaultStore,
    CallableStore,
    GoogleSecretManagerStore,
    SecretStore,
    VaultStore,
)
from airflow_provider_adobe_audiences.rotation.stores.quiet import quiet
from tests import leaks

# The servers of the other tests of stores.
from tests.airflow.test_target_stores import (  # noqa: F401
    MEMORY,
    ONE,
    TWO,
    aws,
    aws_url,
    azure,
    connect,
    google,
    openbao,
    read_memory,
    vault_stub,
    write_memory,
)

OTHERS = {"owner": "crm", "password": "not yours", "n": 1}
KINDS = ["openbao", "vault_stub", "aws", "google", "azure", "callable"]


def made(kind: str, server: Any, key: str | None) -> SecretStore:
    makers: dict[str, Callable[[], SecretStore]] = {
        "aws": lambda: AwsSecretsManagerStore("profile", key=key),
        "google": lambda: GoogleSecretManagerStore("project", "profile", key=key),
        "azure": lambda: AzureKeyVaultStore("https://vault.vault.azure.net", "profile", key=key),
        "callable": lambda: CallableStore(read_memory, write_memory, key=key),
    }
    return makers.get(kind, lambda: VaultStore("adobe/profile", key=key or "value"))()


def put(store: SecretStore, value: str) -> None:
    """Write past all checks, as others do."""
    store._write(value)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str, request: pytest.FixtureRequest) -> Callable[..., SecretStore]:
    MEMORY.clear()
    server = None if kind == "callable" else request.getfixturevalue(kind)
    if kind in ("openbao", "vault_stub"):
        pytest.importorskip("airflow.providers.hashicorp.hooks.vault")
        server.reset()
        request.getfixturevalue("connect")(server)
    return lambda key=None: made(kind, server, key)


def others_of(store: SecretStore, kind: str) -> Any:
    if isinstance(store, VaultStore):
        store.read()
        return {name: value for name, value in store._secret.items() if name != store.key}
    content = json.loads(store._read() or "{}")
    return {name: value for name, value in content.items() if name != store.key}


def begin(store: SecretStore, content: dict[str, Any]) -> None:
    if isinstance(store, VaultStore):
        store.read()
        store._put(store._hook(), content)
    else:
        put(store, json.dumps(content))


def test_the_other_keys_of_a_json_value_are_kept(make: Any, kind: str) -> None:
    store = make("token")
    begin(store, OTHERS)
    assert store.read() is None
    store.prove_writable()
    store.write(ONE)
    assert store.read() == ONE
    store.write(TWO)
    assert (make("token").read(), others_of(make("token"), kind)) == (TWO, OTHERS)


def test_a_json_value_begins_with_the_first_token(make: Any, kind: str) -> None:
    store = make("token")
    store.prove_writable()
    assert store.read() is None
    store.write(ONE)
    assert make("token").read() == ONE


@pytest.mark.parametrize(
    "content", [json.dumps(OTHERS), "a sentence", "-----BEGIN KEY-----", "Summer2026!", "short"]
)
def test_what_is_no_token_is_not_replaced(make: Any, kind: str, content: str) -> None:
    if kind in ("openbao", "vault_stub"):
        pytest.skip("Vault's values are objects: see the test of keys")
    put(make(), content)
    before = make()._read()
    for store in (make(), make()):
        with pytest.raises(AdobeConfigurationError, match=r"not a token|does not look like a token"):
            store.write(ONE)
    with pytest.raises(AdobeConfigurationError, match=r"not a token|does not look like a token"):
        make().prove_writable()
    assert make()._read() == before


@pytest.mark.parametrize("content", [f"{ONE}\n", f" {ONE}"])
def test_a_token_with_blanks_around_it_is_told_as_one(make: Any, kind: str, content: str) -> None:
    if kind in ("openbao", "vault_stub"):
        pytest.skip("Vault's values are objects")
    put(make(), content)
    for act in (make().prove_writable, lambda: make().write(TWO)):
        with pytest.raises(AdobeConfigurationError, match="a token with blanks or a line break") as error:
            act()
        assert ONE not in str(error.value)
    assert make()._read() == content


def test_a_json_value_is_never_taken_for_a_token(make: Any, kind: str) -> None:
    if kind in ("openbao", "vault_stub"):
        pytest.skip("Vault's values are objects")
    put(make(), json.dumps(OTHERS))
    with pytest.raises(AdobeConfigurationError, match="holds JSON, not a token") as error:
        make().read()
    assert "key=" in error.value.hint
    assert "not yours" not in str(error.value)


@pytest.mark.parametrize("found", [{"nested": 1}, "two words", 7])
def test_a_key_that_holds_something_else_is_not_replaced(make: Any, kind: str, found: Any) -> None:
    begin(make("token"), {**OTHERS, "token": found})
    with pytest.raises(AdobeConfigurationError, match="does not look like a token"):
        make("token").write(ONE)
    with pytest.raises(AdobeConfigurationError, match="does not look like a token"):
        make("token").prove_writable()


# Members that a reader of JSON changes when it writes them again, blanks and order.
AS_WRITTEN = """ {"f" : 3.14159265358979323846,\t"n": 1.10, "e":1e400, "i": NUMBER,
  "u": "\\u00e9", "x}": {"token": "not this one", "a": [1, {}]}%s
} """.replace("NUMBER", "7" * 5000)


@pytest.mark.parametrize("token", ["", ', "token"\n: "%s" ', ', "to\\u006ben": "%s"'])
def test_all_else_in_a_json_value_stays_as_it_was_written(make: Any, kind: str, token: str) -> None:
    if kind in ("openbao", "vault_stub"):
        pytest.skip("Vault's values are objects")
    there = token % ONE if token else ""
    put(make(), AS_WRITTEN % there)
    store = make("token")
    assert store.read() == (ONE if token else None)
    store.prove_writable()
    store.write(TWO)
    expected = there.replace(ONE, TWO) or f', "token": "{TWO}"'
    assert make()._read() == AS_WRITTEN % expected
    assert make("token").read() == TWO


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1, "a": 2}', "a key that is there twice"),
        (f'{{"token": "{ONE}", "token": "{TWO}"}}', "a key that is there twice"),
        ('{"a": {"b": 1, "b": 2}}', "a key that is there twice"),
        ('{"a": NaN}', "NaN, which is not JSON"),
        ('{"a": [-Infinity]}', "-Infinity, which is not JSON"),
    ],
)
def test_a_json_value_that_readers_understand_differently_is_left_alone(
    make: Any, kind: str, content: str, words: str
) -> None:
    if kind in ("openbao", "vault_stub"):
        pytest.skip("Vault's values are objects")
    put(make(), content)
    for act in (lambda: make("token").prove_writable(), lambda: make("token").write(ONE), make("token").read):
        with pytest.raises(AdobeConfigurationError, match=words) as error:
            act()
        assert ONE not in str(error.value)
    assert make()._read() == content


NO_TEXT = [None, 5, "", " ", True, b"token"]
STORES: dict[str, Callable[..., SecretStore]] = {
    "variable": lambda value: AirflowVariableStore(value),
    "conn_id": lambda value: AirflowConnectionStore(value),
    "api_conn_id": lambda value: AirflowConnectionStore("a", api_conn_id=value),
    "path": lambda value: VaultStore(value),
    "vault_conn_id": lambda value: VaultStore("a", vault_conn_id=value),
    "secret_id": lambda value: AwsSecretsManagerStore(value),
    "project_id": lambda value: GoogleSecretManagerStore(value, "a"),
    "vault_url": lambda value: AzureKeyVaultStore(value, "a"),
    "secret_name": lambda value: AzureKeyVaultStore("https://a", value),
    "name": lambda value: CallableStore(read_memory, name=value),
    "read": lambda value: CallableStore(value),
}
WITH_KEY: dict[str, Callable[..., SecretStore]] = {
    "AirflowVariableStore": lambda key: AirflowVariableStore("token", key=key),
    "AirflowConnectionStore": lambda key: AirflowConnectionStore("a", key=key),
    "VaultStore": lambda key: VaultStore("a", key=key),
    "AwsSecretsManagerStore": lambda key: AwsSecretsManagerStore("a", key=key),
    "GoogleSecretManagerStore": lambda key: GoogleSecretManagerStore("a", "b", key=key),
    "AzureKeyVaultStore": lambda key: AzureKeyVaultStore("https://a", "b", key=key),
    "CallableStore": lambda key: CallableStore(read_memory, key=key),
}


def refused(make_it: Callable[[], SecretStore], argument: str) -> None:
    with pytest.raises(AdobeConfigurationError) as error:
        make_it()
    if "is not installed" in str(error.value) or "needs Airflow 3" in str(error.value):
        pytest.skip(error.value.message)
    assert f"Store: argument {argument!r} is " in str(error.value)
    assert ": should be a " in str(error.value)


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("argument", STORES)
def test_a_store_wants_texts_when_it_is_made(argument: str, value: Any) -> None:
    refused(lambda: STORES[argument](value), argument)


@pytest.mark.parametrize("value", [value for value in NO_TEXT if value is not None])
@pytest.mark.parametrize("store", WITH_KEY)
def test_the_key_of_a_store_is_a_text_that_is_not_blank(store: str, value: Any) -> None:
    refused(lambda: WITH_KEY[store](value), "key")


@pytest.mark.parametrize("wrong", ["os", "a..b", "os.path:join", 7])
@pytest.mark.parametrize("argument", ["read", "write", "prove_writable"])
def test_a_function_of_a_store_is_one_or_its_path(argument: str, wrong: Any) -> None:
    given: dict[str, Any] = {"read": read_memory, argument: wrong}
    refused(lambda: CallableStore(**given), argument)


@pytest.mark.parametrize(
    "token", ["s3cret-T0ken/with+signs=", "eyJhbGciOi.s3cret/T0ken", f"{'s3cret-' * 12}.{'x' * 36}.y"]
)
def test_a_token_in_place_of_a_function_is_not_shown(token: str) -> None:
    with pytest.raises(AdobeConfigurationError) as error:
        CallableStore(token)
    assert "s3cret" not in str(error.value)
    assert "argument 'read' is a text: should be a function or its import path" in str(error.value)


@pytest.mark.parametrize("path", ["rotate-token.read", "2stores.read", "my-dags.stores.read"])
def test_a_function_may_lie_in_a_file_of_any_name(path: str) -> None:
    assert CallableStore(path).reference()[1] == [path]


def test_loggers_may_come_from_a_generator() -> None:
    store = CallableStore(read_memory, loggers=(name for name in ("a", "b")))  # type: ignore[arg-type]
    assert store.quiet_loggers() == ("a", "b")


def test_a_variable_is_written_while_a_secrets_backend_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "airflow_provider_adobe_audiences.rotation.stores.airflow"
    written: dict[str, str] = {}

    class Sealed:
        def get_variable(self, key: str) -> str:
            raise ConnectionError("sealed")

    variable = "airflow.providers.common.compat.sdk.Variable"
    monkeypatch.setattr(f"{variable}.get", lambda key, **_: written.get(key))
    monkeypatch.setattr(f"{variable}.set", lambda key, value, **_: written.update({key: value}))
    monkeypatch.setattr(f"{module}._backends", lambda: [Sealed()])
    store = AirflowVariableStore("profile_token")
    with pytest.raises(SecretStoreError, match="could not be proven writable"):
        store.prove_writable()
    store.write(ONE)
    assert written == {"profile_token": ONE}


def test_a_function_that_says_no_proves_nothing() -> None:
    MEMORY.clear()
    with pytest.raises(SecretStoreError, match="cannot be written, as its prove_writable says"):
        CallableStore(read_memory, write_memory, lambda: False).prove_writable()
    CallableStore(read_memory, write_memory, lambda: None).prove_writable()


def test_aws_notices_who_else_writes(aws: str) -> None:  # noqa: F811
    store, other = AwsSecretsManagerStore("profile", key="token"), AwsSecretsManagerStore("profile")
    put(store, json.dumps(OTHERS))
    current = store._current

    def and_then_somebody_writes() -> Any:
        found = current()
        put(other, json.dumps({**OTHERS, "owner": "somebody else"}))
        return found

    store._current = and_then_somebody_writes  # type: ignore[method-assign]
    with pytest.raises(SecretStoreConflict):
        store.write(ONE)
    store._current = current  # type: ignore[method-assign]
    store.write(ONE)
    assert json.loads(store._read() or "") == {**OTHERS, "owner": "somebody else", "token": ONE}


def test_google_puts_the_token_on_top_of_who_else_writes(google: Any) -> None:  # noqa: F811
    store, other = (
        GoogleSecretManagerStore("project", "profile", key="token"),
        GoogleSecretManagerStore("project", "profile"),
    )
    put(store, json.dumps(OTHERS))
    add, times = store._add, []

    def after_somebody(value: str) -> int:
        if not times:
            times.append(1)
            put(other, json.dumps({**OTHERS, "owner": "somebody else"}))
        return add(value)

    store._add = after_somebody  # type: ignore[method-assign]
    store.write(ONE)
    assert json.loads(store._read() or "") == {**OTHERS, "owner": "somebody else", "token": ONE}


# ------------------------------------------------------------------------------------------------------------
# logs


@pytest.fixture
def all_loggers_open(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every logger that exists, and those of the clients that will exist, tells everything."""
    monkeypatch.setenv("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "google")
    names = [
        *(
            "boto3",
            "botocore",
            "google",
            "google.cloud",
            "grpc",
            "azure",
            "msal",
            "hvac",
            "urllib3",
            "requests",
        ),
        *("botocore.parsers", "botocore.endpoint", "botocore.hooks", "urllib3.connectionpool"),
        "google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc",
        *(name for name in logging.root.manager.loggerDict if "adobe" not in name),
    ]
    levels = {name: logging.getLogger(name).level for name in ["", *names]}
    for name in levels:
        logging.getLogger(name or None).setLevel(1)
    caplog.set_level(1)
    monkeypatch.setattr(logging.getLogger("google"), "propagate", True)
    yield
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


@pytest.mark.parametrize("key", [None, "token"])
@pytest.mark.usefixtures("all_loggers_open")
def test_no_client_logs_the_token(
    make: Any, kind: str, key: str | None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    store = make(key)
    store.prove_writable()
    store.read()
    for secret in (ONE, TWO):
        store.write(secret)
        assert make(key).read() == secret
    said = capfd.readouterr()
    # Google's client puts what it sends and gets beside the text of the record.
    records = "".join(str(vars(record)) for record in caplog.records)
    hunt = leaks.Hunt([ONE, TWO])
    hunt.look("logs", "what was said", f"{caplog.text}{records}{said.out}{said.err}")
    assert hunt.found == []


def test_loggers_are_quiet_only_meanwhile_and_for_as_long_as_one_needs_it() -> None:
    parent, child = logging.getLogger("a_client"), logging.getLogger("a_client.wire")
    parent.setLevel(logging.DEBUG)
    child.setLevel(1)
    first, second = quiet(["a_client"]), quiet(["a_client"])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not parent.isEnabledFor(logging.DEBUG)
    assert not child.isEnabledFor(logging.DEBUG)
    assert child.isEnabledFor(logging.INFO)
    second.__exit__(None, None, None)
    assert (parent.level, child.level) == (logging.DEBUG, 1)


# ------------------------------------------------------------------------------------------------------------
# frames


class Failing(SecretStore):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __str__(self) -> str:
        return "the failing store"

    def _read(self) -> str | None:
        token = ONE
        raise self.error if token else AssertionError

    def _write(self, secret: str) -> None:
        try:
            raise RuntimeError(secret)
        except RuntimeError:
            raise self.error  # noqa: B904

    def _prove_writable(self) -> None: ...


@pytest.mark.parametrize("error", [OSError("down"), SecretStoreError("down"), SecretStoreConflict("other")])
def test_the_frames_of_a_failure_do_not_hold_the_token(error: Exception) -> None:
    store = Failing(error)
    store._replaceable = True
    for act in (lambda: store.write(ONE), store.read):
        with pytest.raises(SecretStoreError) as caught:
            act()
        assert ONE not in leaks.locals_of(caught.value)


def test_a_message_quotes_no_part_of_the_token() -> None:
    for form, shown in (
        (ONE, True),  # the whole of it is known, and taken out
        (ONE[:8], False),
        (ONE[3:9].upper(), False),
        (base64.b64encode(ONE.encode()).decode()[4:12], False),
        (quote(ONE, safe="")[-7:], False),
        (ONE[:5], True),
    ):
        error = ValueError(f"bad value near {form}")
        store = Failing(error)
        store._replaceable = True
        with pytest.raises(SecretStoreError, match=r"could not be written \(ValueError") as caught:
            store.write(ONE)
        assert ("bad value near" in str(caught.value)) is shown
        assert ONE[:8] not in str(caught.value)
        assert ONE[3:9].upper() not in str(caught.value)

        def refuse(secret: str, error: Exception = error) -> None:
            raise error

        kept = CallableStore(lambda: ONE, refuse)
        with pytest.raises(SecretStoreError, match=r"could not be proven writable \(ValueError") as caught:
            kept.prove_writable()
        assert ("bad value near" in str(caught.value)) is shown
        assert ONE not in leaks.locals_of(caught.value)


class Foreign(SecretStore):
    """A store that somebody has written who does not check types."""

    def __init__(self, value: Any, key: str | None = None) -> None:
        self.value, self.key = value, key

    def __str__(self) -> str:
        return "the store of the house"

    def _read(self) -> Any:
        return self.value

    def _write(self, secret: str) -> None:
        raise AssertionError("nothing may be written")

    def _prove_writable(self) -> None: ...


def test_the_first_run_on_an_empty_store_says_why_it_cannot_write() -> None:
    def write(secret: str) -> None:
        raise PermissionError("403 Forbidden: role etl may not update target-profile-token")

    with pytest.raises(SecretStoreError, match="role etl may not update target-profile-token"):
        CallableStore(lambda: "", write).prove_writable()


@pytest.mark.parametrize("key", [None, "token"])
@pytest.mark.parametrize(
    "value", [1234567890123456789, 0, ONE.encode(), b"", {"token": ONE}, bytearray(b"x")]
)
def test_a_value_that_is_no_text_is_refused_unseen(value: Any, key: str | None) -> None:
    for store in (Foreign(value, key), CallableStore(lambda: value, write_memory, key=key)):
        for act in (store.read, store.prove_writable, functools.partial(store.write, TWO)):
            with pytest.raises(AdobeConfigurationError) as caught:
                act()
            text = str(caught.value)
            assert text.startswith(f"{store} gave a value of type {type(value).__name__}, where a text")
            assert "What to do: Let the store return a text" in text
            assert ONE not in text
            assert str(1234567890123456789) not in text
