# SPDX-License-Identifier: Apache-2.0
"""Values and rows as the body of a bulk profile update writes them.

Source: "Bulk profile update API".
"""

from __future__ import annotations

import math
import numbers
import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.profiles.options import Key
from airflow_provider_adobe_audiences.text import counted

MAX_BYTES_PER_PROFILE = 64 * 1024

#: The characters that need no percent-encoding, by RFC 3986.
UNRESERVED = string.ascii_letters + string.digits + "_.~-"

_PLAIN = re.compile(f"[{UNRESERVED}]*").fullmatch
_IS_NAME = re.compile(r"([^\W\d][\w.-]{0,63})?").fullmatch
# No number that anybody means has more.
_MAX_DIGITS = 400
_MAX_BITS = 1328
_MAX_SHOWN = 60
_MAX_NAMED = 20
_ECID_LENGTH = 38
# Letters by their category, and yet nothing to see: the fillers of Hangul, and the empty pattern of Braille.
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class RowRejected(Exception):
    """Why a row cannot be sent.

    :param reason: in words; without a value of the row, unless values may be shown.
    :param values: of the row, by column, as far as they are known; never part of the text.
    """

    def __init__(self, reason: str, values: Any = None) -> None:
        super().__init__(reason)
        self.values = values


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the source become what.

    :param key: ``thirdPartyId`` or ``pcId``.
    :param key_column: the column of the source that holds it.
    :param parameters: column of the source -> name of the profile attribute; ``None`` for all columns under
        their own names.
    :param show_values: messages may quote values of rows, which identify people.
    """

    key: Key
    key_column: str
    parameters: Mapping[str, str] | None = None
    show_values: bool = False

    def resolve(self, available: Sequence[str] | None, *, may_be_data: bool = False) -> list[tuple[str, str]]:
        """Return the pairs (column of the source, attribute).

        :param available: the columns that the source has; ``None`` when it cannot tell.
        :param may_be_data: whether they may be a row of data, taken for the names of the columns.
        :raises AdobeConfigurationError: naming the column and the rule that it breaks.
        """
        if available is not None:
            self._check_available(available, may_be_data and not self.show_values)
        if self.parameters is None:
            pairs = [(name, name) for name in available or () if name != self.key_column]
        else:
            pairs = list(self.parameters.items())
        check_names(self.key, [attribute for _, attribute in pairs], self.shown)
        return pairs

    def shown(self, *columns: Any) -> str:
        """Return columns for a message. What is neither a name nor in ``parameters`` may be a customer's mail
        address.

        :param columns: the names; of very many, the first are named.
        """
        some = columns[:_MAX_NAMED]
        named = [_written(column) for column in some if self._may_show(column)]
        if hidden := len(some) - len(named):
            named.append(f"{counted(hidden, 'name')} that this message does not show")
        if len(columns) > len(some):
            named.append(f"{len(columns) - len(some)} more")
        return ", ".join(named)

    def _may_show(self, column: Any) -> bool:
        given = self.parameters or {}
        return (
            self.show_values
            or column in (self.key_column, *given, *given.values())
            or (isinstance(column, str) and _IS_NAME(_without_unseen_ends(column)) is not None)
        )

    def _check_available(self, available: Sequence[str], hidden: bool) -> None:
        missing = [name for name in (self.key_column, *(self.parameters or ())) if name not in available]
        if missing:
            has = f"{len(available)} others" if hidden else self.shown(*available)
            is_told = not hidden and all(map(self._may_show, available[:_MAX_NAMED]))
            show = "" if is_told else " show_values=True lets this message name them."
            raise AdobeConfigurationError(
                f"the source has no column {', '.join(map(repr, missing))}; it has: {has}",
                hint="Check key_column and parameters, and that the file begins with its column names."
                + show,
            )
        if len(set(available)) < len(available):
            double = sorted({name for name in available if available.count(name) > 1})
            raise AdobeConfigurationError(f"the source has columns of the same name: {self.shown(*double)}")


def _written(column: Any) -> str:
    is_unseen = isinstance(column, str) and column and _begins_or_ends_unseen(column)
    return ascii(column) if is_unseen else repr(column)


def check_names(key: str, attributes: Sequence[str], shown: Callable[[str], str]) -> None:
    """Check that the attributes can be sent under these names.

    :param key: ``thirdPartyId`` or ``pcId``.
    :param attributes: names of profile attributes.
    :param shown: says how messages write one.
    :raises AdobeConfigurationError: naming the attribute and the rule that it breaks.
    """
    if not attributes:
        raise AdobeConfigurationError("there is no profile attribute to set: the source has only the key")
    for name in attributes:
        if not name or name != name.strip():
            raise AdobeConfigurationError(
                f"the name of an attribute is empty, or begins or ends with a blank: {shown(name)}"
            )
        if _begins_or_ends_unseen(name):
            raise AdobeConfigurationError(
                f"the name of an attribute begins or ends with a character that cannot be seen: {shown(name)}"
            )
        if name.startswith("profile."):
            raise AdobeConfigurationError(
                f"the name of an attribute must not begin with 'profile.': {shown(name)}",
                hint="Send it without that; Target shows it with it.",
            )
        if name in ("pcId", "thirdPartyId"):
            raise AdobeConfigurationError(
                f"the attribute name {name!r} is a key of Target; the key of this upload is {key!r}"
            )
        if not _encodable(name):
            raise AdobeConfigurationError(
                f"the name of an attribute cannot be written in UTF-8: {shown(name)}"
            )
    if len(set(attributes)) < len(attributes):
        double = sorted({name for name in attributes if list(attributes).count(name) > 1})
        raise AdobeConfigurationError(f"attributes are named twice: {', '.join(map(shown, double))}")


def header_of(key: str, attributes: Sequence[str]) -> bytes:
    """Return the first line of an upload.

    :param key: ``thirdPartyId`` or ``pcId``.
    :param attributes: names of profile attributes, in the order of the cells.
    """
    return ("batch=" + ",".join([key, *(quote(name, safe="") for name in attributes)])).encode()


class LineEncoder:
    """Encodes rows of one source.

    :param columns: which of them become what.
    :param attributes: names of profile attributes, in the order of the cells.
    """

    def __init__(self, columns: Columns, attributes: Sequence[str]) -> None:
        self._columns = columns
        self._attributes = tuple(attributes)
        #: What the names of the attributes take of the size of a profile.
        self.name_bytes = sum(len(name.encode()) for name in attributes)
        self._refuse_key = _third_party_id if columns.key == "thirdPartyId" else _pc_id

    def line(self, row: Sequence[Any]) -> tuple[bytes, bool]:
        """Return a row as a line, and whether it sets anything.

        :param row: the key, then a value for each attribute.
        :raises RowRejected: when it cannot be sent.
        """
        cells = [
            self.check_key(row[0]),
            *[
                value if type(value) is str else self._text_in(name, value)
                for name, value in zip(self._attributes, row[1:], strict=True)
            ],
        ]
        # Most cells need no encoding, and finding that out is ten times cheaper than encoding.
        try:
            line = ",".join([cell if _PLAIN(cell) else quote(cell, safe="") for cell in cells])
        except UnicodeEncodeError:
            raise RowRejected("a value cannot be written in UTF-8") from None
        # Encoding never shortens, so only a long line needs to be measured.
        if len(line) + self.name_bytes > MAX_BYTES_PER_PROFILE:
            exact = self.name_bytes + sum(len(cell.encode()) for cell in cells[1:])
            if exact > MAX_BYTES_PER_PROFILE:
                raise RowRejected(
                    f"its attributes take {exact} bytes; Adobe keeps {MAX_BYTES_PER_PROFILE} per profile"
                )
        return line.encode("ascii"), any(cells[1:])

    def _text_in(self, name: str, value: Any) -> str:
        try:
            return text_of(value)
        except RowRejected as reason:
            raise RowRejected(f"attribute {self._columns.shown(name)}: {reason}") from None

    def check_key(self, value: Any) -> str:
        """Return the key of a row as a text.

        :param value: of the key column.
        :raises RowRejected: when Adobe does not take it.
        """
        key = value if type(value) is str else _key_text(value)
        if not key.strip():
            raise RowRejected("the key is empty")
        if key != key.strip():
            raise RowRejected("the key begins or ends with a blank")
        if not _PLAIN(key) and _begins_or_ends_unseen(key):
            raise RowRejected("the key begins or ends with a character that cannot be seen")
        if reason := self._refuse_key(key):
            text = key if len(key) <= _MAX_SHOWN else f"{key[:_MAX_SHOWN]}…"
            shown = f" ({text!r})" if self._columns.show_values else ""
            raise RowRejected(f"the {self._columns.key}{shown} {reason}")
        return key


def _key_text(value: Any) -> str:
    if isinstance(value, bool):
        raise RowRejected("the key is a boolean")
    if _is_whole_fraction(value):
        raise RowRejected(
            "the key is a whole number that is held as a fraction, as 12345.0 for 12345: another id may be "
            "meant; give integers or texts"
        )
    return text_of(value)


def _is_whole_fraction(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and value.as_tuple().exponent != 0 and value == value.to_integral_value()
    return isinstance(value, float) and value.is_integer()


def _third_party_id(key: str) -> str | None:
    return "contains '+' or '/', which Adobe does not allow" if "+" in key or "/" in key else None


def _pc_id(key: str) -> str | None:
    if len(key) == _ECID_LENGTH and key.isdigit():
        return "is a Marketing Cloud (ECID) visitor id, which the bulk update does not take"
    return None


def text_of(value: Any) -> str:
    """Return the text that a value is sent as: numbers in plain notation, times in ISO 8601.

    :param value: of a cell.
    :returns: its text; empty for *not given*.
    :raises RowRejected: when it has no such text.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)):
        if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
            raise RowRejected(f"{value} is no number that a profile can hold")
        return _plain(value)
    if isinstance(value, numbers.Integral):
        if int(value).bit_length() > _MAX_BITS:
            raise RowRejected(f"it is a number of more than {_MAX_DIGITS} digits")
        return str(int(value))
    if isinstance(value, (datetime, date, time)):
        if value != value:
            raise RowRejected("it is no time (NaT)")
        return value.isoformat()
    name = "dict" if isinstance(value, dict) else type(value).__name__
    raise RowRejected(f"a value of type {name} has no text; send a text, a number, a boolean or a time")


def _plain(value: float | Decimal) -> str:
    """Return a number without an exponent, and with the digits that it has."""
    text = str(value) if isinstance(value, Decimal) else repr(float(value))
    if "E" not in text.upper():
        return text
    number = Decimal(text)
    if abs(number.adjusted()) > _MAX_DIGITS:
        raise RowRejected(f"it is a number of more than {_MAX_DIGITS} digits")
    return format(number, "f")


def _begins_or_ends_unseen(text: str) -> bool:
    return any(map(_is_unseen, (text[0], text[-1])))


def _without_unseen_ends(text: str) -> str:
    return text.strip("".join(filter(_is_unseen, set(text))))


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") or character in _FILLERS


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
