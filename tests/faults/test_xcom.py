# SPDX-License-Identifier: Apache-2.0
"""What the operators and sensors leave for other tasks has one shape: every row of the matrix is run once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts import api
from tests.faults.harness import Run, World
from tests.faults.rows import ROWS

#: Below these keys are documents that are Adobe's or the user's, kept as they are.
DOCUMENTS = {"permissions", "plan", "before", "after", "tags"}
#: What is itself such a document: rows of permissions, as they are declared.
ROWS_OF_PERMISSIONS = {"AdobeListGroupPermissionsOperator", "AdobeSetGroupPermissionsOperator"}


def keys_in(value: Any) -> Iterator[str]:
    """Yield the keys of a result, at every depth, but for those of documents."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            if key not in DOCUMENTS:
                yield from keys_in(below)
    elif isinstance(value, list):
        for item in value:
            yield from keys_in(item)


def not_snake_case(value: Any) -> set[str]:
    return {key for key in keys_in(value) if not re.fullmatch(r"[a-z][a-z0-9_]*", key)}


def shape(value: Any, key: str = "") -> Any:
    """Return the names and JSON types of a result; a list is as its items are."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict() if key not in DOCUMENTS:
            return {name: shape(below, name) for name, below in sorted(value.items())}
        case list() if key not in DOCUMENTS:
            shapes = [shape(item, key) for item in value]
            return [one for number, one in enumerate(shapes) if one not in shapes[:number]]
    return "document"


@pytest.mark.parametrize("name", ROWS)
def test_every_key_of_a_result_is_snake_case_and_its_shape_the_recorded_one(
    name: str, new_world: Callable[[], World], request: pytest.FixtureRequest
) -> None:
    world, row = new_world(), ROWS[name]
    world.emulator.switches.update(row.switches)
    run = Run(world, row, row.prepare(world))

    assert run.to_the_end() == "success", world.log()

    assert run.xcom, "it leaves nothing for the next task"
    assert json.loads(json.dumps(run.xcom)) == run.xcom
    assert all(key == key.lower() for key in run.xcom)
    documents = row.operator in ROWS_OF_PERMISSIONS
    wrong = not_snake_case(
        {key: value for key, value in run.xcom.items() if not documents or key != "return_value"}
    )
    assert wrong == set()

    recorded = json.loads(api.SHAPES.read_text()) if api.SHAPES.exists() else {}
    now = {
        key: "document" if documents and key == "return_value" else shape(value, key)
        for key, value in sorted(run.xcom.items())
        if key != "events"  # of the harness: what consumers of assets were told
    }
    if request.config.getoption("--record-shapes"):
        known = {row: recorded[row] for row in recorded if row in ROWS}
        api.SHAPES.write_text(api.dump(dict(sorted((known | {name: now}).items()))))
    else:
        assert now == recorded.get(name), (
            "what this leaves in XCom has changed: if that is meant, run `make api` and tell users in "
            "CHANGELOG.md"
        )


def test_every_recorded_shape_is_of_an_operator_that_is_there() -> None:
    assert set(json.loads(api.SHAPES.read_text())) == set(ROWS)


def test_a_shape_tells_names_types_and_lists_apart() -> None:
    assert shape({"a": [1, 2.5, None], "b": {"c": "x", "d": True}, "plan": {"x": 1}}) == {
        "a": ["number", "null"],
        "b": {"c": "string", "d": "boolean"},
        "plan": "document",
    }


def test_a_key_in_another_case_is_noticed() -> None:
    assert not_snake_case({"groups": [{"groupId": 1, "permissions": [{"objectType": "TRAIT"}]}]}) == {
        "groupId"
    }
