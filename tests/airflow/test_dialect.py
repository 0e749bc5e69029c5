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
#: What does not follow a rule yet. An entry that is no longer needed fails: take it out.
NOT_YET: dict[str, set[str]] = {
    "AdobeCreateGroupOperator": {"documented"},
    "AdobeUpdateGroupOperator": {"documented"},
    "AdobeListGroupsOperator": {"documented"},
    "AdobeGetGroupOperator": {"documented"},
    "AdobeDeleteGroupOperator": {"documented"},
    "AdobeBulkDeleteGroupsOperator": {"documented"},
    "AdobeListGroupPermissionsOperator": {"documented"},
    "AdobeSetGroupPermissionsOperator": {"documented"},
    "AdobeSyncGroupsOperator": {"documented"},
    "AdobePlanGroupsOperator": {"documented"},
    "AdobeApplyGroupsPlanOperator": {"documented"},
}


def judge(name: str, rule: str, problems: list[str]) -> None:
    if rule in NOT_YET.get(name, ()):
        assert problems, f"{name} follows {rule!r} now: take it out of NOT_YET"
    else:
        assert problems == []


def problems_of(rule: Any, kind: Any, *more: Any) -> list[str]:
    try:
        found: list[str] = rule(kind, *more)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return found


@pytest.mark.usefixtures("adobe_connection")
@pytest.mark.parametrize("rule", TASK_RULES)
@pytest.mark.parametrize("name", TASKS)
def test_an_operator_or_a_sensor(name: str, rule: str, emulator: Any) -> None:
    more = [lambda: len(emulator.journal.entries)] if rule == "checks_rendered" else []
    judge(name, rule, problems_of(TASK_RULES[rule], TASKS[name], *more))


@pytest.mark.parametrize("rule", TRIGGER_RULES)
@pytest.mark.parametrize("name", WAITS)
def test_a_trigger(name: str, rule: str) -> None:
    judge(name, rule, problems_of(TRIGGER_RULES[rule], WAITS[name]))


def test_one_name_has_one_type_everywhere() -> None:
    judge("all", "same_types", problems_of(lambda _: dialect.same_types(), None))


def test_sensors_and_triggers_import_no_operator() -> None:
    judge("all", "sensors", dialect.imports_upward(sensors, (f"{PACKAGE}operators.",)))
    assert dialect.imports_upward(triggers, (f"{PACKAGE}operators.", f"{PACKAGE}sensors.")) == []


def test_all_are_found() -> None:
    assert len(TASKS) >= 22
    assert len(WAITS) >= 2
    assert NOT_YET.keys() <= TASKS.keys() | WAITS.keys() | {"all"}
