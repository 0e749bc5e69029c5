# SPDX-License-Identifier: Apache-2.0
"""Many rows of a bulk profile update, checked and encoded at once.

A row of its own costs a dozen calls; rows that are joined first cost a few for all of them. To percent-encode
is one ``bytes.replace`` for each character that needs it and occurs. What a block cannot tell (which row is
refused, and why) is left to :class:`~airflow_provider_adobe_audiences.profiles.encode.LineEncoder`.

Source: "Bulk profile update API".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from airflow_provider_adobe_audiences.profiles.encode import (
    MAX_BYTES_PER_PROFILE,
    UNRESERVED,
    Columns,
    LineEncoder,
    RowRejected,
    text_of,
)

#: Rows in one block: enough to spread the cost of a call, and little memory.
SIZE = 256

# Between cells and between rows of a block: characters that no text has. Where one has, each row goes alone.
_CELL, _ROW = b"\x1f", b"\x1e"
_TO_LINES = bytes.maketrans(_CELL + _ROW, b",\n")
_AS_THEY_ARE = UNRESERVED.encode()
_ENCODED = [(b"%c" % byte, b"%%%02X" % byte) for byte in range(256)]
# A key of these needs no closer look: what can be seen, but for what a key must not have.
_VISIBLE = bytes(range(0x21, 0x7F)) + _ROW
_NOT_IN_KEY = {"thirdPartyId": b"+/", "pcId": b""}
_MAYBE_AN_ECID = re.compile(rb"(?:^|\x1e)[0-9]{38}(?:\x1e|$)").search
# Fewer rows than these are not worth another try as blocks.
_MIN_SIZE = 16

#: A row: the key, then a value for each attribute; or why it cannot be sent.
Row: TypeAlias = "Sequence[Any] | RowRejected"
T = TypeVar("T")


class Lines(NamedTuple):
    """Rows as the body of an upload has them.

    :param text: the lines, a line feed between two of them.
    :param rows: how many they are.
    :param has_values: whether any of them sets anything.
    """

    text: bytes
    rows: int
    has_values: bool

    def each(self) -> Iterator[Lines]:
        """Give them one by one.

        :returns: an iterator of single lines.
        """
        for line in self.text.split(b"\n"):
            yield Lines(line, 1, b"," in line.rstrip(b","))


@dataclass(frozen=True, slots=True)
class Block:
    """Many rows as one text.

    :param cells: in UTF-8; between cells a unit separator (0x1F), between rows a record separator (0x1E).
    :param keys: the first cells of the rows, in UTF-8; between two of them a record separator.
    :param count: of the rows.
    :param rows: gives the same rows one by one.
    """

    cells: bytes
    keys: bytes
    count: int
    rows: Callable[[], Sequence[Row]]


def block_of_texts(rows: Sequence[Sequence[str]]) -> Block | None:
    """Join rows of texts.

    :param rows: one or more; their cells are of the type ``str``, of no class below it.
    :returns: the block, or ``None`` when a text cannot be written in UTF-8.
    """
    try:
        return Block(
            _ROW.join(map(str.encode, map("\x1f".join, rows))),
            "\x1e".join([row[0] for row in rows]).encode(),
            len(rows),
            lambda: rows,
        )
    except UnicodeEncodeError:
        return None


def block_of(rows: Sequence[Row], width: int) -> Block | None:
    """Join rows of any values.

    :param rows: one or more.
    :param width: how many cells each of them should have.
    :returns: the block, or ``None`` when one of the rows has to be looked at by itself.
    """
    values = [row for row in rows if not isinstance(row, RowRejected) and len(row) == width]
    if len(values) < len(rows):
        return None
    if set(map(type, itertools.chain.from_iterable(values))) == {str}:
        return block_of_texts(values)
    if not {type(row[0]) for row in values} <= {str, int}:
        return None
    try:
        texts = [tuple([cell if type(cell) is str else text_of(cell) for cell in row]) for row in values]
    except RowRejected:
        return None
    return block_of_texts(texts)


def chunks(items: Iterable[T], size: int = SIZE) -> Iterator[list[T]]:
    """Give what an iterator gives as lists. What it gave before it failed comes before the failure.

    :param items: any.
    :param size: of a list, at most.
    :returns: an iterator of lists.
    :raises Exception: what the iterator raised.
    """
    iterator = iter(items)
    while True:
        chunk: list[T] = []
        try:
            chunk.extend(itertools.islice(iterator, size))
        except Exception:
            if chunk:
                yield chunk
            raise
        if chunk:
            yield chunk
        if len(chunk) < size:
            return


def _grouped(items: Iterable[Row | Block]) -> Iterator[Block | list[Row]]:
    """Give blocks as they are, and the rows between them in lists."""
    for are_blocks, some in itertools.groupby(items, lambda item: isinstance(item, Block)):
        if are_blocks:
            yield from cast("Iterable[Block]", some)
        else:
            yield from chunks(cast("Iterable[Row]", some))


class BlockEncoder:
    """Encodes the rows of one source.

    :param columns: which of them become what.
    :param attributes: names of profile attributes, in the order of the cells.
    """

    def __init__(self, columns: Columns, attributes: Sequence[str]) -> None:
        self._key, self._names = columns.key, tuple(attributes)
        self._lines = LineEncoder(columns, attributes)
        self._in_key = _VISIBLE.translate(None, _NOT_IN_KEY[columns.key])

    def lines(self, items: Iterable[Row | Block]) -> Iterator[Lines | RowRejected]:
        """Encode rows in their order.

        :param items: rows and blocks of rows.
        :returns: an iterator of lines, and of reasons why a row cannot be sent.
        """
        for item in _grouped(items):
            if isinstance(item, Block):
                yield from self._block(item, item.rows)
            else:
                yield from self._rows(item)

    def _rows(self, rows: Sequence[Row]) -> Iterator[Lines | RowRejected]:
        return self._block(block_of(rows, len(self._names) + 1), lambda: rows)

    def _block(self, block: Block | None, rows: Callable[[], Sequence[Row]]) -> Iterator[Lines | RowRejected]:
        lines = None if block is None else self._encode(block)
        if lines is not None:
            yield lines
        else:
            yield from self._halved(rows())

    def _halved(self, rows: Sequence[Row]) -> Iterator[Lines | RowRejected]:
        """Encode as many rows at once as can be: a row that is refused costs its neighbours little."""
        if len(rows) <= _MIN_SIZE:
            yield from map(self._line, rows)
        else:
            yield from self._rows(rows[: len(rows) // 2])
            yield from self._rows(rows[len(rows) // 2 :])

    def _line(self, row: Row) -> Lines | RowRejected:
        if isinstance(row, RowRejected):
            return row
        try:
            text, has_values = self._lines.line(row)
        except RowRejected as rejected:
            rejected.values = dict(zip((self._key, *self._names), row, strict=True))
            return rejected.with_traceback(None)
        return Lines(text, 1, has_values)

    def _encode(self, block: Block) -> Lines | None:
        """Return the lines of a block, or ``None`` when one of its rows has to be looked at by itself."""
        cells, count = block.cells, block.count
        separators = count * len(self._names)
        others = cells.translate(None, _AS_THEY_ARE)
        if others.count(_CELL) != separators or others.count(_ROW) != count - 1:
            return None
        if not self._fits(cells) or not self._keys_are_good(block.keys):
            return None
        has_values = len(cells) - separators > len(block.keys)
        special = set(others.translate(None, _CELL + _ROW))
        return Lines(percent_encoded(cells, special).translate(_TO_LINES), count, has_values)

    def _fits(self, cells: bytes) -> bool:
        room = MAX_BYTES_PER_PROFILE - self._lines.name_bytes
        return len(cells) <= room or max(map(len, cells.split(_ROW))) <= room

    def _keys_are_good(self, keys: bytes) -> bool:
        plain = not keys.translate(None, self._in_key)
        none_empty = _ROW * 2 not in _ROW + keys + _ROW
        if plain and none_empty and not (self._key == "pcId" and _MAYBE_AN_ECID(keys)):
            return True
        try:
            for key in keys.decode().split("\x1e"):
                self._lines.check_key(key)
        except RowRejected:
            return False
        return True


def percent_encoded(cells: bytes, special: Set[int]) -> bytes:
    """Percent-encode all bytes but the unreserved ones of RFC 3986 and the separators of a block.

    :param cells: of a block.
    :param special: the bytes to encode.
    :returns: the same, encoded.
    """
    # First the percent sign, which the others put in.
    cells = cells.replace(b"%", b"%25")
    for byte in special - {0x25}:
        cells = cells.replace(*_ENCODED[byte])
    return cells
