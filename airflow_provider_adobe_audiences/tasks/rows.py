# SPDX-License-Identifier: Apache-2.0
"""Rows of customers as an argument of a task: rendered like any other, but never shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.tasks.validation import NATIVE, Hidden
from airflow_provider_adobe_audiences.text import counted

#: A list of mappings from column to value.
Rows = Annotated[Sequence[Mapping[str, Any]], Hidden]


class RenderedRows:
    """Rows after Airflow has rendered them. As text, which is what Airflow keeps of a rendered field, it only
    tells how many there are.

    :param rows: mappings from column to value.
    """

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self.type_name = type(rows).__name__

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __str__(self) -> str:
        return f"{counted(len(self._rows), 'row')}, not shown"

    __repr__ = __str__


class NoRows:
    """What Airflow has rendered ``rows`` to if that is no list: it may hold rows all the same, and is not
    shown.

    :param value: the value; only its type is kept.
    """

    def __init__(self, value: Any) -> None:
        self.type_name = type(value).__name__

    def __str__(self) -> str:
        return f"a value of type {self.type_name}, which is not shown"

    __repr__ = __str__


def check_rows(rows: Any) -> None:
    """Check that an argument holds rows, as far as that is possible without reading all of them.

    :param rows: what the task was given, or what Airflow rendered it to.
    :raises AdobeConfigurationError: when it is something else. Never with a value of it.
    """
    if rows is None:
        return
    wrong = getattr(rows, "type_name", type(rows).__name__)
    if isinstance(rows, Iterable) and not isinstance(rows, (str, bytes, Mapping)):
        if not isinstance(rows, (Sequence, RenderedRows)) or all(
            isinstance(row, Mapping) for row in itertools.islice(rows, 1)
        ):
            return
        begin = next(iter(rows))
        if isinstance(begin, Sequence) and not isinstance(begin, (str, bytes)):
            raise AdobeConfigurationError(
                "argument 'rows' is a list of lists: it should be one list of mappings",
                hint="If each copy of a mapped task returns rows, put a task between that joins their lists.",
            )
        wrong = f"a {wrong} that does not begin with a mapping"
    raise AdobeConfigurationError(
        f"argument 'rows' is {wrong}: should be a list of mappings from column to value{NATIVE}"
    )


class RowsField:
    """A template field of an operator for :data:`Rows`: what the operator is made with stays as it is, what
    Airflow renders it to becomes :class:`RenderedRows`.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance).get(self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        is_rendered = vars(instance).get(self._name) is not None
        # What a mapped task returned is a sequence that Airflow reads when it is asked for.
        if is_rendered and isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            value = RenderedRows(value)
        elif is_rendered and not isinstance(value, (RenderedRows, NoRows)):
            value = NoRows(value)
        vars(instance)[self._name] = value
