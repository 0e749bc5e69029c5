# SPDX-License-Identifier: Apache-2.0
"""The page about the emulator shows every switch and every kind of fault."""

from __future__ import annotations

from scripts.emulator_docs import FILE, page


def test_the_tables_of_the_page_are_those_of_the_emulator() -> None:
    text = FILE.read_text()
    assert page(text) == text, "run python -m scripts.emulator_docs"
