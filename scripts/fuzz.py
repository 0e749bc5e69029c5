# SPDX-License-Identifier: Apache-2.0
"""A million URLs and a million hostile responses: no URL that two clients read in two ways is accepted, and
no character that steers a terminal or breaks a line reaches a record of a log.

    python -m scripts.fuzz --count 1000000 --seed 1

The tests do the same with a hundred inputs each (``tests/unit/test_urls.py``,
``tests/security/test_fuzz.py``).
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import unicodedata
from collections.abc import Callable
from urllib.parse import urlsplit

from airflow_provider_adobe_audiences.adobe.client import urls
from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Response,
    Service,
    no_content,
)
from airflow_provider_adobe_audiences.adobe.client.problems import error_of

URL_PIECES = (
    *(
        "https://",
        "http://",
        "//",
        "/",
        "\\",
        "@",
        ":",
        "#",
        "?",
        "%2f",
        "%5c",
        "%00",
        "%41",
        ".",
        "..",
        "&",
        "=",
    ),
    *(
        "host",
        "evil.example",
        ".tt.omtrdc.net",
        "xn--",
        "xn--bcher-kva",
        "127.0.0.1",
        "[::1]",
        "[",
        "]",
        "443",
    ),
    *("0", "99999", "\t", "\n", " ", ";", "\u3002", "\u2044", "\u00e4", "\x00", "\u202e", "\ud800", "-", "_"),
)
HOSTILE = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u00ad\u061c\u180e\u200b\u200e\u2028\u2029\u202a\u202e\u2060\u2066\ufeff\ufff9\U000e0041\ud800\udfff",
    *("%0a", "%0d", "\\n", "\\u000a", "&#10;", "<b>", "\x1b[31m", "a", "b", "Forged: INFO - ", " "),
)
FORBIDDEN = {"Cc", "Cs", "Zl", "Zp"}
SHAPES: tuple[Callable[[str], object], ...] = (
    lambda text: {"message": text},
    lambda text: {"error_code": text, "title": text, "detail": text},
    lambda text: {"errors": [{"code": text, "message": text}]},
    lambda text: {"error": text, "error_description": text},
    lambda text: {"report": {"tenantInfo": {"ids": text}}, "type": text, "status": text},
    lambda text: [text],
    lambda text: text,
)


class Records(logging.Handler):
    """Looks at each record as a handler would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += 1
        message = record.getMessage()
        # The line breaks that our errors have are our own: before "What to do", the request id and the like.
        bad = [one for one in message.replace("\n", "") if unicodedata.category(one) in FORBIDDEN]
        forged = [line for line in message.splitlines()[1:] if line.startswith(("Forged", "\x1b"))]
        assert bad + forged == [], ascii(message)


def url_is_read_alike(chance: random.Random) -> None:
    url = "".join(chance.choices(URL_PIECES, k=chance.randint(1, 10)))
    if chance.random() < 0.7:
        url = f"https://{url}"
    try:
        read = urls.parse(url)
    except ValueError:
        return
    written = str(read)
    assert urls.parse(written) == read, ascii(url)
    assert urlsplit(written).hostname == read.host, ascii(url)
    assert not [one for one in written if unicodedata.category(one) in FORBIDDEN], ascii(url)


def response_is_told_in_lines_of_ours(chance: random.Random, log: logging.Logger) -> None:
    text = "".join(chance.choices(HOSTILE, k=chance.randint(1, 12)))
    value = chance.choice(SHAPES)(text)
    encoded = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    body = encoded if chance.random() < 0.8 else text.encode("utf-8", "surrogatepass")
    headers = {"x-request-id": text, "content-type": chance.choice(["application/json", "text/html", text])}
    service = chance.choice(list(Service))
    call = Call(
        name="get it",
        service=service,
        method="GET",
        path="/x",
        idempotency=Idempotency.READ,
        parse=no_content,
    )
    error = error_of(call, Response(chance.choice([400, 401, 403, 404, 409, 429, 500, 503]), headers, body))
    log.warning("%s", error)
    log.warning("%s", error.summary)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance, records = random.Random(asked.seed), Records()
    log = logging.getLogger("fuzz")
    log.propagate = False
    log.addHandler(records)
    kinds: dict[str, Callable[[], None]] = {
        "URLs": lambda: url_is_read_alike(chance),
        "responses": lambda: response_is_told_in_lines_of_ours(chance, log),
    }
    for name, attempt in kinds.items():
        began = time.monotonic()
        for _ in range(asked.count):
            attempt()
        print(f"{asked.count:,} {name} in {time.monotonic() - began:.0f} s (seed {asked.seed}): none wrong")
    print(f"{records.seen:,} records of a log were looked at")
    return 0


if __name__ == "__main__":
    sys.exit(main())
