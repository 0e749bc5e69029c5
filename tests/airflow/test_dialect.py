# SPDX-License-Identifier: Apache-2.0
"""Every operator, sensor and trigger speaks one dialect: the rules are in ``dialect.py``."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_adobe_audiences import sensors, triggers
from tests.airflow import dialect
from tests.airflow.dialect import PACKAGE, TASK_RULES, TRIGGER_RULES

TASKS = dialect.tasks()
WAITS = dialect.waits()


@pytest.mark.usefixtures("adobe_connection")
@pytest.mark.parametrize("rule", TASK_RULES)
@pytest.mark.parametrize("name", TASKS)
def test_an_operator_or_a_sensor(name: str, rule: str, emulator: Any) -> None:
    more = [lambda: len(emulator.journal.entries)] if rule == "checks_rendered" else []
    assert TASK_RULES[rule](TASKS[name], *more) == []


@pytest.mark.parametrize("rule", TRIGGER_RULES)
@pytest.mark.parametrize("name", WAITS)
def test_a_trigger(name: str, rule: str) -> None:
    assert TRIGGER_RULES[rule](WAITS[name]) == []


def test_one_name_has_one_type_everywhere() -> None:
    assert dialect.same_types() == []


def test_sensors_and_triggers_import_no_operator() -> None:
    assert dialect.imports_upward(sensors, (f"{PACKAGE}operators.",)) == []
    assert dialect.imports_upward(triggers, (f"{PACKAGE}operators.", f"{PACKAGE}sensors.")) == []


def test_all_are_found() -> None:
    assert len(TASKS) >= 22
    assert len(WAITS) >= 2
