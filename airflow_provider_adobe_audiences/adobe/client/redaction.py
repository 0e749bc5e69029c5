# SPDX-License-Identifier: Apache-2.0
"""Secrets stay out of whatever is logged or raised, in each form in which somebody may have written them."""

from __future__ import annotations

import base64
import html
import json
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.call import Response
from airflow_provider_adobe_audiences.errors import AdobeError

E = TypeVar("E", bound=AdobeError)

HIDDEN = "***"
# A shorter one may be part of anything.
MIN_LENGTH = 8


def written_forms(secret: str) -> tuple[str, ...]:
    """Return ``secret`` as a URL, a form, JSON, HTML or Python may write it, itself first; without
    duplicates.

    :param secret: in clear.
    """
    forms = [secret]
    if len(secret) >= MIN_LENGTH:
        escaped = _escaped(secret)
        quoted = [quote(secret, safe=""), quote(secret), quote_plus(secret)]
        forms += [*quoted, *(_lower_case_hex(form) for form in quoted)]
        forms += [escaped, json.dumps(secret, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/")]
        # Services put what another one said, as JSON, into a text of their own.
        forms += [_escaped(escaped), _escaped(_escaped(escaped))]
        forms += [html.escape(secret), html.escape(secret, quote=False), repr(secret)[1:-1]]
    return tuple(dict.fromkeys(forms))


def all_forms(secret: str) -> tuple[str, ...]:
    """Return the :func:`written_forms` of ``secret`` and its encodings: base64 (wherever in the encoded
    text it begins), hexadecimal digits, UTF-16.

    :param secret: in clear.
    """
    forms = list(written_forms(secret))
    if len(secret) >= MIN_LENGTH:
        raw = secret.encode("utf-8", "surrogatepass")
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii")
            begin, end = (0, 2, 3)[offset], (offset + len(raw)) * 8 // 6
            forms += [encoded[begin:end], encoded[begin:end].translate(_URL_SAFE)]
        forms += [raw.hex(), raw.hex().upper(), "\0".join(secret), _escaped("\0".join(secret))]
    return tuple(dict.fromkeys(forms))


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


_URL_SAFE = str.maketrans("+/", "-_")


def _lower_case_hex(quoted: str) -> str:
    head, *parts = quoted.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in parts)])


class Redactor:
    """Knows secrets, and takes them out of texts.

    :param secrets: those that are known from the beginning.
    :param on_secret: is told the :func:`written_forms` of each further secret, to mask them in logs. Not
        their encodings: for each text Airflow's masker compiles all that it knows anew, and a token is long.
    """

    def __init__(
        self, secrets: Iterable[str] = (), on_secret: Callable[[list[str]], None] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self._on_secret: Callable[[list[str]], None] | None = None
        for secret in secrets:
            self.learn(secret)
        self._on_secret = on_secret

    def learn(self, secret: SecretStr | str) -> None:
        """Take ``secret`` out of everything from now on.

        :param secret: an empty one is left out.
        """
        text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        if not text or text in self._known:
            return
        with self._lock:
            # The longest first: a form that holds another one goes as a whole.
            self._forms = tuple(sorted({*self._forms, *all_forms(text)}, key=len, reverse=True))
        # Never under the lock: in a triggerer Airflow lets other triggers of this thread run meanwhile.
        if self._on_secret:
            self._on_secret(list(written_forms(text)))
        self._known.add(text)

    def text(self, text: str) -> str:
        """Return ``text`` without any secret. To be called before the text is shortened: half a secret is not
        recognised any more.

        :param text: what is to be logged or raised.
        """
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def response(self, response: Response) -> Response:
        """Return ``response`` without any secret in its headers and body.

        :param response: as it came.
        """
        body = response.body
        for form in self._forms:
            body = body.replace(form.encode("utf-8", "surrogatepass"), HIDDEN.encode())
        headers = {name: self.text(value) for name, value in response.headers.items()}
        return Response(response.status, headers, body)

    def error(self, error: E) -> E:
        """Take every secret out of ``error``, and return it.

        :param error: is changed, with its cause.
        :returns: the same error.
        """
        for name, value in vars(error).items():
            if isinstance(value, str):
                setattr(error, name, self.text(str(value)))
        error.args = (error.message,)
        if isinstance(error.__cause__, AdobeError):
            self.error(error.__cause__)
        return error
