# SPDX-License-Identifier: Apache-2.0
"""Filters, order, pages and projection of Catalog's lists."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from starlette.datastructures import QueryParams

from airflow_provider_adobe_audiences.emulator.experience_platform.errors import bad_request

Document = dict[str, Any]

MAX_LIMIT = 100
#: Parameters that every list takes.
LISTS = ("limit", "start", "orderBy", "properties", "property", "tags", "createdAfter", "createdBefore")
PROPERTY = re.compile(r"(!?)([^~=!<>]+)(?:(~|==|!=|<=|>=|<|>)(.*))?", re.DOTALL)
#: A group that is repeated may take for ever.
REPEATED_GROUP = re.compile(r"\)\s*[*+?{]")


def select(
    found: Iterable[tuple[str, Document]],
    query: QueryParams,
    *,
    equal: Collection[str],
    numbers: Collection[str],
    limit: int,
) -> list[tuple[str, Document]]:
    """Return the page of the objects that a query asks for.

    :param found: id and object, oldest first.
    :param equal: properties that can be compared with text.
    :param numbers: properties that can be compared with a number.
    :param limit: size of the page when the query does not say.
    :raises ErrorResponse: 400 when the query is wrong.
    """
    start, limit = whole(query, "start", 0), whole(query, "limit", limit)
    if not 1 <= limit <= MAX_LIMIT:
        raise bad_request(f"limit must be from 1 to {MAX_LIMIT}.")
    matching = [pair for pair in found if _matches(pair[1], query, equal, numbers)]
    matching.reverse()  # the newest first among equals
    for name, descending in reversed(_order(query.get("orderBy") or query.get("sort") or "desc:created")):
        matching.sort(key=lambda pair: _sort_key(pair[1].get(name)), reverse=descending)
    return matching[start : start + limit]


def project(document: Document, query: QueryParams) -> Document:
    """Return the properties of an object that a query asks for, without the query all of them."""
    kept = {name for name in (query.get("properties") or "").split(",") if name}
    return {name: value for name, value in document.items() if not kept or name in kept}


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number of the query.

    :raises ErrorResponse: 400 when it is none.
    """
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f"{name} must be a whole number, not {text[:100]!r}.")
    return int(text)


def _order(text: str) -> list[tuple[str, bool]]:
    """Return name and direction of each property to sort by; a direction holds until the next one."""
    order, descending = [], False
    for part in text.split(","):
        direction, colon, name = part.partition(":")
        if colon:
            descending = direction == "desc"
        order.append((name if colon else part, descending))
    return order


def _sort_key(value: Any) -> tuple[bool, bool, Any]:
    """Return what orders values of any type: numbers, then texts, lists and objects, then what is missing."""
    if isinstance(value, int | float):
        return (False, False, value)
    return (value is None, True, value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def _matches(
    document: Document, query: QueryParams, equal: Collection[str], numbers: Collection[str]
) -> bool:
    if not all(_is_one_of(document.get(name), query[name]) for name in equal if name in query):
        return False
    if any(document.get(name) != whole(query, name, 0) for name in numbers if name in query):
        return False
    created = document.get("created", 0)
    if "createdAfter" in query and not created > whole(query, "createdAfter", 0):
        return False
    if "createdBefore" in query and not created < whole(query, "createdBefore", 0):
        return False
    if "tags" in query and not _has_tags(document.get("tags") or {}, query["tags"]):
        return False
    return all(_has_property(document, text) for text in query.getlist("property"))


def _is_one_of(value: Any, text: str) -> bool:
    if text.startswith("!"):
        return str(value) not in text[1:].split(",")
    return str(value) in text.split(",")


def _has_tags(tags: Mapping[str, Any], text: str) -> bool:
    for part in text.split(","):
        name, colon, pattern = part.partition(":")
        values = tags.get(name)
        if values is None:
            return False
        texts = values if isinstance(values, list) else [values]
        if colon and not any(fnmatchcase(str(value), pattern) for value in texts):
            return False
    return True


def _has_property(document: Document, text: str) -> bool:
    match = PROPERTY.fullmatch(text)
    if match is None:
        raise bad_request(f"property is not understood: {text[:100]!r}")
    absent, name, operator, wanted = match.groups()
    value = document.get(name)
    if operator is None:
        return (value is None) == bool(absent)
    if operator == "~":
        return _search(wanted, "" if value is None else str(value))
    if operator in ("==", "!="):
        return (str(value) == wanted) == (operator == "==")
    return value is not None and _compare(value, operator, wanted)


def _search(pattern: str, text: str) -> bool:
    if REPEATED_GROUP.search(pattern) or len(pattern) > 500:
        raise bad_request("property: the regular expression is too complex.")
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise bad_request(f"property is not a regular expression: {error}") from None


def _compare(value: Any, operator: str, wanted: str) -> bool:
    try:
        left, right = float(value), float(wanted)
    except (TypeError, ValueError, OverflowError):
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]
