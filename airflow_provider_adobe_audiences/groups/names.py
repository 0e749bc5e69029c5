# SPDX-License-Identifier: Apache-2.0
"""How texts and permissions are compared. What is sent, and what goes back, is never changed by it."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Iterable
from html.entities import html5

from airflow_provider_adobe_audiences.adobe.audience_manager import Permission

# How often a name may have been escaped over; without an end, a hostile one would keep us for hours.
_MAX_ESCAPES = 8
# Adobe's page and Adobe's own portal differ in this one.
SAME_PERMISSION = {("SEGMENT", "MAP_TO_DESTINATIONS"): "MAP_TO_DESTINATION"}
# Every name is compared several times in a sync: worked out once for each of so many names.
_remembered = functools.lru_cache(maxsize=1 << 16)
_REFERENCE = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31};?);?")


def unescaped(text: str) -> str:
    """Return what an HTML-escaped text stands for.

    :param text: what a host answered that may or may not escape.
    :returns: the text as it is, when no escaper can have written it: with ``<``, ``>``, or a ``&`` that
        begins no character reference. ``?a=1&times=2`` is an address, not a multiplication.
    """
    if "&" not in text or "<" in text or ">" in text or "&" in _REFERENCE.sub(_nothing_if_real, text):
        return text
    return html.unescape(text)


def _nothing_if_real(reference: re.Match[str]) -> str:
    body = reference[1].removesuffix(";")
    real = reference[0].endswith(";") and (body.startswith("#") or f"{body};" in html5)
    return "" if real else reference[0]


@_remembered
def canonical_name(name: str) -> str:
    """Return the form in which names are compared: whether or not the service has escaped it, composed
    (Unicode NFC), without surrounding blanks.

    :param name: as Adobe answered it, or as it is declared.
    """
    for _ in range(_MAX_ESCAPES):
        if (text := unescaped(name)) == name:
            break
        name = text
    return unicodedata.normalize("NFC", name).strip()


@_remembered
def look_alike(name: str) -> str:
    """Return a key that is equal for names that a person cannot tell apart: letter case, width and
    composition, kinds and number of blanks, and characters that cannot be seen make no difference.

    :param name: as Adobe answered it, or as it is declared.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", canonical_name(name)).casefold())
    visible = (
        character
        for character in folded
        if unicodedata.category(character) not in ("Cf", "Cc") and not "\ufe00" <= character <= "\ufe0f"
    )
    return " ".join("".join(visible).split())


def same_text(live: str | None, wanted: str | None) -> bool:
    """Return whether a live description (or name) is the wanted one.

    :param live: as Adobe answered it, perhaps escaped.
    :param wanted: as it is declared; never escaped by anybody. Nothing and a blank text are the same.
    """
    has = (live or "").strip()
    return (wanted or "").strip() in (has, unescaped(has))


def canonical_permissions(permissions: Iterable[Permission]) -> tuple[Permission, ...]:
    """Return the form in which permissions are compared: one row per object, rows and permissions in order,
    nothing twice.

    :param permissions: as Adobe answered them, or as they are declared.
    """
    merged: dict[tuple[str, int], set[str]] = {}
    for row in permissions:
        tokens = (SAME_PERMISSION.get((row.object_type, token), token) for token in row.permissions)
        merged.setdefault((row.object_type, row.object_id), set()).update(tokens)
    return tuple(Permission(*key, tuple(sorted(tokens))) for key, tokens in sorted(merged.items()) if tokens)
