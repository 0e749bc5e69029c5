# SPDX-License-Identifier: Apache-2.0
"""What somebody else wrote, made fit for a log, a terminal and an exception."""

from __future__ import annotations

import re

_MAX_MESSAGE = 500
# Control characters but line breaks, what turns the direction of text or cannot be seen, halves of
# characters: what others wrote must neither steer a terminal nor break a log file.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def seen(text: str) -> str:
    """Return ``text`` with a blank for each character that cannot be seen; line breaks stay.

    :param text: from outside.
    """
    return _UNSEEN.sub(" ", text)


def one_line(text: str) -> str:
    """Return what somebody else wrote as one line of bearable length, fit for a log, a terminal and an
    exception.

    :param text: from outside.
    """
    text = re.sub(r"\s+", " ", seen(text[: 10 * _MAX_MESSAGE])).strip()
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
