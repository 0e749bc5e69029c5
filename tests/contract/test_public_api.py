# SPDX-License-Identifier: Apache-2.0
"""What users depend on changes knowingly: recorded by ``make api``, told in the changelog."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from scripts import api

RECORDED: dict[str, Any] = json.loads(api.FILE.read_text())
STORED: dict[str, dict[str, Any]] = json.loads(api.TRIGGERS.read_text())
SHAPES: dict[str, dict[str, Any]] = json.loads(api.SHAPES.read_text())
ADVICE = "the public API has changed: if that is meant, run `make api` and tell users in CHANGELOG.md"


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return dict(json.loads(api.dump(api.content())))


def test_nothing_is_recorded_that_is_not_public_now_and_nothing_public_is_left_out(now):
    assert set(now) == set(RECORDED), ADVICE


@pytest.mark.parametrize("part", RECORDED)
def test_the_public_api_is_the_recorded_one(part, now):
    assert RECORDED[part], "a part without anything in it says nothing"
    assert now[part] == RECORDED[part], ADVICE


@pytest.mark.parametrize(
    ("version", "path"), [(version, path) for version, paths in STORED.items() for path in paths]
)
def test_a_trigger_that_a_version_has_stored_can_still_be_made(version, path):
    """Airflow does just this with a task that was deferred before an upgrade."""
    module, _, name = path.rpartition(".")

    trigger = getattr(importlib.import_module(module), name)(**STORED[version][path])

    assert trigger.serialize()[0] == path


def test_what_this_version_stores_of_its_triggers_is_recorded():
    assert STORED[api.package.__version__] == json.loads(api.dump(api.stored_arguments())), ADVICE


@pytest.mark.parametrize("name", SHAPES)
def test_every_id_that_a_task_returns_is_an_xcom_of_its_own(name):
    """`task.output["batch_id"]` looks for a key of that name, not into what the task returns."""
    shape = SHAPES[name]
    result = shape["return_value"]
    ids = {key for key in result if key == "id" or key.endswith("_id")} if isinstance(result, dict) else set()

    assert ids <= shape.keys()


def test_most_tasks_return_ids():
    assert sum(len(shape) > 1 for shape in SHAPES.values()) >= 12
