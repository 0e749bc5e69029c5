# SPDX-License-Identifier: Apache-2.0
"""What comes from outside neither steers a terminal nor forges a line of a log."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.text import counted, one_line, plain_id, seen, visible

HOSTILE = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u00ad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\U000e0041\ud800\udfff",
]


@pytest.mark.parametrize("character", HOSTILE, ids=lambda character: f"U+{ord(character):04X}")
def test_what_cannot_be_seen_is_taken_out_shown_or_refused(character: str) -> None:
    text = f"a{character}b"
    assert character == " " or character not in one_line(text)
    assert character in "\t\n" or character not in seen(text)
    shown = visible(text)
    assert character not in shown
    assert shown.startswith("a\\")
    with pytest.raises(ValueError, match="cannot be seen") as raised:
        plain_id(text, "batch id")
    assert character not in str(raised.value)


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_nothing_else_reaches_a_line_of_a_log(text: str) -> None:
    for written in (one_line(text), visible(text)):
        written.encode()
        assert len(written.splitlines()) <= 1
        assert not [sign for sign in written if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")]


@pytest.mark.parametrize("text", ["Zoë", "\u6f22\u5b57", "a b", "\u00a0x", "\U0001f600", "x\u3000y"])
def test_what_people_use_stays(text: str) -> None:
    assert visible(text) == text
    assert seen(text) == text


@pytest.mark.parametrize(("value", "read"), [("b-1", "b-1"), (7, "7"), ("01K \u00e4", "01K \u00e4")])
def test_an_id_stays_as_it_is(value: object, read: str) -> None:
    assert plain_id(value, "id") == read


@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, "", " ", "x" * 2001])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="the batch id is "):
        plain_id(value, "batch id")


def test_a_long_text_is_cut_and_says_so() -> None:
    assert one_line("x" * 10_000) == "x" * 500 + "\u2026"


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 changes"), (1, "1 change"), (2, "2 changes"), (1.2, "1 change"), (1e4, "10000 changes")],
)
def test_numbers_and_nouns_agree(number: float, said: str) -> None:
    assert counted(number, "change") == said
