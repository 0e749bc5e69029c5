# SPDX-License-Identifier: Apache-2.0
"""Write the tables of ``docs/emulator.md`` from the emulator itself: ``python -m scripts.emulator_docs``."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_adobe_audiences.emulator.core import Emulator
from airflow_provider_adobe_audiences.emulator.faults import FaultRule
from scripts.local_airflow import REPO

FILE = REPO / "docs" / "emulator.md"
FAULTS = "<!-- faults -->\n"
SWITCHES = "<!-- switches -->\n"
LEFT_OUT = "<!-- left out -->\n"


def page(text: str) -> str:
    """Return ``text``, the page as it is, with its tables made anew."""
    emulator = Emulator()
    try:
        switches = emulator.switches.markdown()
        left_out = _left_out(emulator.left_out())
    finally:
        emulator.close()
    fields = FaultRule.model_fields.items()
    faults = (
        "\n".join(
            [
                "| field | meaning |",
                "|---|---|",
                *(f"| `{name}` | {field.description} |" for name, field in fields),
            ]
        )
        + "\n"
    )
    text = _between(text, LEFT_OUT, left_out)
    return _between(_between(text, FAULTS, faults), SWITCHES, switches)


def _left_out(operations: Mapping[str, tuple[str, ...]]) -> str:
    """Return the table of the operations that answer 501."""
    lines = ["| path | methods |", "|---|---|"]
    for path, methods in operations.items():
        shown = "all" if path.endswith(":any}") else ", ".join(methods)
        lines.append(f"| `{path.replace('{rest:any}', '…')}` | {shown} |")
    return "\n".join(lines) + "\n"


def _between(text: str, marker: str, table: str) -> str:
    before, _, after = text.split(marker)
    return f"{before}{marker}\n{table}\n{marker}{after}"


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text()))
