# SPDX-License-Identifier: Apache-2.0
"""Write the catalogue of errors in ``docs/errors.md`` from the classes themselves: ``python -m
scripts.error_catalogue``.
"""

from __future__ import annotations

import inspect

from airflow_provider_adobe_audiences import errors
from airflow_provider_adobe_audiences.adobe.client import problems
from scripts.local_airflow import REPO

FILE = REPO / "docs" / "errors.md"


def catalogue() -> str:
    """Return the page."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.AdobeError)
    ]
    rows = [
        f"| `{kind.__name__}` | {_first_line(kind)} | {kind.default_hint} | "
        f"{'yes' if kind.transient else 'no'} |"
        for kind in kinds
        if kind is not errors.AdobeError
    ]
    codes = [
        f"| `{code}` | `{kind.__name__}` | {hint} |" for code, (kind, hint) in sorted(problems._HINTS.items())
    ]
    statuses = [f"| {status} | `{kind.__name__}` |" for status, kind in sorted(problems._BY_STATUS.items())]
    return "\n".join(
        [
            "# Errors",
            "",
            "Every error is an `AdobeError` and reads like this:",
            "",
            "> Experience Platform, create batch: POST /data/foundation/import/batches answered 403 "
            "[403003]: Api Key is invalid.  ",
            "> Request id: 4f0c…  ",
            "> What to do: The client id (Login of the connection) is not known to Adobe.",
            "",
            "`summary` is the first line with the request id. It has `service`, `call`, `method`, `path`, "
            "`status`, `code`, `message`, `request_id` and "
            "`hint` as attributes.",
            "When a retry cannot help, operators raise `AirflowFailException` with the same text, and the "
            "`AdobeError` as its `__cause__`:",
            "the task fails at once, whatever its `retries`.",
            "This page is written by `python -m scripts.error_catalogue` from the code.",
            "",
            "| error | cause | remedy, unless the message knows a better one | does a retry help? |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Codes that Adobe documents",
            "",
            "| code | error | remedy |",
            "|---|---|---|",
            *codes,
            "",
            "## By HTTP status",
            "",
            "| status | error |",
            "|---|---|",
            *statuses,
            "| 3xx | `AdobeResponseError` |",
            "| other 4xx | `AdobeValidationError` |",
            "| 5xx | `AdobeServerError`; `AdobeUnknownOutcomeError` when the call creates something |",
            "| no response | `AdobeTransportError`; `AdobeUnknownOutcomeError` when the call creates "
            "something and may have arrived |",
            "",
        ]
    )


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    FILE.write_text(catalogue())
