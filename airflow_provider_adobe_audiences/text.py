# SPDX-License-Identifier: Apache-2.0
"""What somebody else wrote, made fit for a log, a terminal and an exception."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAX_MESSAGE = 500
#: An id of an audience may hold namespace and audience id, 255 characters each, in base64.
MAX_ID = 2000
# Control characters but line breaks, what turns the direction of text or cannot be seen, halves of
# characters: what others wrote must neither steer a terminal nor break a log file.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def seen(text: str) -> str:
    """Return ``text`` with a blank for each character that cannot be seen; line breaks stay.

    :param text: from outside.
    """
    return _UNSEEN.sub(" ", text)


def visible(text: str) -> str:
    """Return ``text`` in one line, with an escape for each character that cannot be seen, as Python writes
    it: for names that a person has to tell apart.

    :param text: from outside.
    """
    return _UNSEEN.sub(_escaped, text.translate(_BREAKS))


_BREAKS = {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def plain_id(value: object, what: str) -> str:
    """Return an id that a response names, to be logged, kept and sent again. To be used where it is parsed.

    :param value: as it was parsed.
    :param what: how messages call it, such as ``batch id``.
    :raises ValueError: when it is no text or number, is empty, longer than 2,000 characters, or holds a
        character that cannot be seen: no id of Adobe's does. The message does not repeat it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"the {what} is no text")
    text = str(value)
    if not text.strip() or len(text) > MAX_ID or visible(text) != text:
        raise ValueError(f"the {what} is empty, too long, or holds characters that cannot be seen")
    return text


def counted(number: float, noun: str) -> str:
    """Return a number with its noun, such as ``1 change`` or ``2 changes``.

    :param number: written without decimals.
    :param noun: in the singular; its plural ends in ``s``.
    """
    written = f"{number:.0f}"
    return f"{written} {noun}" if written == "1" else f"{written} {noun}s"


def meant(value: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return `` (did you mean …?)`` with the known name that a wrong one is most like; nothing without one.

    :param value: what was written.
    :param known: the names that there are.
    :param likeness: how much they have in common at least, from 0 to 1.
    """
    import difflib

    close = difflib.get_close_matches(value, list(known), n=1, cutoff=likeness)
    return f" (did you mean {close[0]}?)" if close else ""


def one_line(text: str) -> str:
    """Return what somebody else wrote as one line of bearable length, fit for a log, a terminal and an
    exception.

    :param text: from outside.
    """
    text = re.sub(r"\s+", " ", seen(text[: 10 * _MAX_MESSAGE])).strip()
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
