# SPDX-License-Identifier: Apache-2.0
"""Every function of the package that returns a call, found by its annotation, with harmless arguments for
each.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_adobe_audiences import adobe
from airflow_provider_adobe_audiences.adobe import audience_manager
from airflow_provider_adobe_audiences.adobe.client import ims
from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
from airflow_provider_adobe_audiences.adobe.client.call import Call, Content
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeError

# All of them, so that no call of a new module is forgotten.
MODULES = tuple(
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(adobe.__path__, f"{adobe.__name__}.")
    if ".client." not in module.name or module.name == ims.__name__
)
ORG = "0123456789ABCDEF01234567@AdobeOrg"
MARK = "harmless7"

_BY_NAME: dict[str, Any] = {
    "base_path": "/data/core/ais",
    "status_url": "https://mboxedge45.tt.omtrdc.net/m2/acme/profile/batchStatus?batchId=b1",
    "input_format": "json",
    "scope": "profile_api",
    "kind": "thirdPartyId",
    "method": "DELETE",
    "mbox_pc": None,
    "refresh_token": None,
    "bearer": "profile-token",
}
_BY_TYPE: dict[str, Any] = {
    "str": MARK,
    "str | None": MARK,
    "int": 7,
    "int | None": 7,
    "bool": True,
    "Content": Content(lambda: io.BytesIO(b"x"), 1),
    "Mapping[str, Any]": {"name": "x"},
    "Mapping[str, str]": {"name": "x"},
    "Mapping[str, Sequence[str]] | None": {"tag": ["x"]},
    "Sequence[int]": [7],
    "Sequence[str]": [MARK],
    "Iterable[Permission]": [audience_manager.Permission("SEGMENT", 7, ("READ",))],
    "Literal[1, 2]": 2,
}


@dataclass(frozen=True)
class Maker:
    """A function that makes a call.

    :param arguments: harmless ones for all its parameters.
    :param texts: names of the parameters that take a text or an id.
    """

    function: Callable[..., Call[Any]]
    arguments: dict[str, Any]
    texts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.function.__module__.rsplit('.', 1)[-1]}.{self.function.__name__}"

    def __call__(self, **changed: Any) -> Call[Any]:
        return self.function(**{**self.arguments, **changed})


def settings(**fields: Any) -> AdobeSettings:
    """Return settings with a ready-made token, one attempt and little patience."""
    given = {
        "client_id": "client",
        "org_id": ORG,
        "authentication": "access_token",
        "access_token": "the-access-token",
        "target_tenant": "acme",
        "target_client_code": "acme",
        "max_attempts": 1,
        "connect_timeout": 5,
        "read_timeout": 5,
        "total_timeout": 10,
        "session_cache": False,
    }
    return AdobeSettings.of({**given, **fields})


def settings_at(url: str, **fields: Any) -> AdobeSettings:
    """Return settings whose hosts are all ``url``."""
    hosts = ("ims_url", "platform_url", "audience_manager_url", "target_url", "target_edge_url")
    return settings(**dict.fromkeys(hosts, url), **fields)


def _makers() -> Iterable[Maker]:
    for module in MODULES:
        for function in vars(module).values():
            if (
                not inspect.isfunction(function)
                or function.__module__ != module.__name__
                or function.__name__.startswith("_")
            ):
                continue
            signature = inspect.signature(function)
            if not str(signature.return_annotation).startswith("Call["):
                continue
            arguments, texts = {}, []
            for name, parameter in signature.parameters.items():
                kind = str(parameter.annotation)
                if kind == "AdobeSettings":
                    arguments[name] = settings(
                        authentication="oauth_server_to_server", access_token=None, client_secret="the-secret"
                    )
                else:
                    # A parameter of a kind that is not known here fails with KeyError: say above what is
                    # harmless for it.
                    arguments[name] = (
                        _BY_NAME[name] if name in _BY_NAME else _BY_TYPE.get(kind, parameter.default)
                    )
                    assert arguments[name] is not inspect.Parameter.empty, (
                        f"{function.__name__}: {name}: {kind}"
                    )
                if (
                    kind.startswith("str")
                    or name.endswith("_id")
                    or kind in ("TokenScope", "ProfileIdKind", "BulkDeleteMethod")
                ):
                    texts.append(name)
            yield Maker(function, arguments, tuple(texts))


MAKERS = tuple(_makers())


class Blocking:
    """Sends with :class:`AdobeSession`; returns the error, or ``None``."""

    def __init__(self, checked: AdobeSettings) -> None:
        self._session = AdobeSession(checked)

    def __call__(self, call: Call[Any]) -> AdobeError | None:
        try:
            self._session.send(call)
        except AdobeError as error:
            return error
        return None

    def close(self) -> None:
        self._session.close()


class Async:
    """The same with :class:`AsyncAdobeSession`, in an event loop of its own."""

    def __init__(self, checked: AdobeSettings) -> None:
        self._runner = asyncio.Runner()
        self._session = AsyncAdobeSession(checked)

    def __call__(self, call: Call[Any]) -> AdobeError | None:
        async def send() -> AdobeError | None:
            try:
                await self._session.send(call)
            except AdobeError as error:
                return error
            return None

        return self._runner.run(send())

    def close(self) -> None:
        async def end() -> None:
            await self._session.__aexit__()

        self._runner.run(end())
        self._runner.close()
