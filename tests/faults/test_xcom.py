# SPDX-License-Identifier: Apache-2.0
"""What the operators and sensors leave for other tasks has one shape: every row of the matrix is run once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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


@pytest.mark.parametrize("name", ROWS)
def test_every_key_of_a_result_is_snake_case(name: str, new_world: Callable[[], World]) -> None:
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


def test_a_key_in_another_case_is_noticed() -> None:
    assert not_snake_case({"groups": [{"groupId": 1, "permissions": [{"objectType": "TRAIT"}]}]}) == {
        "groupId"
    }
