# SPDX-License-Identifier: Apache-2.0
"""No operator and no sensor of the package escapes the matrix."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_adobe_audiences import operators, sensors
from tests.faults import people_table
from tests.faults.acts import ACTS
from tests.faults.editors import EDITS, NOT_EDITED
from tests.faults.faults import FAULTS
from tests.faults.rows import ROWS, find
from tests.faults.sources import NO_SOURCE_CHANGES, SOURCES
from tests.faults.table import PAGE, counts_of_page, page

PACKAGE = "airflow_provider_adobe_audiences."


def does_something(kind: type[BaseOperator]) -> bool:
    """Whether it is more than a base of others: the package says what it does."""
    methods = (getattr(kind, name, None) for name in ("execute", "poke"))
    return any(getattr(method, "__module__", "").startswith(PACKAGE) for method in methods)


def operators_of_the_package() -> set[str]:
    names = set()
    for package in (operators, sensors):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for kind in vars(importlib.import_module(module.name)).values():
                if (
                    isinstance(kind, type)
                    and issubclass(kind, BaseOperator)
                    and kind.__module__ == module.name
                    and does_something(kind)
                ):
                    names.add(kind.__name__)
    return names


def without_a_row(names: Iterable[str]) -> set[str]:
    return set(names) - {row.operator for row in ROWS.values()}


def test_every_operator_and_sensor_has_a_row() -> None:
    assert len(operators_of_the_package()) > 20
    assert without_a_row(operators_of_the_package()) == set(), "write a row in tests/faults/rows_*.py"


def test_every_row_is_of_an_operator_that_there_is() -> None:
    assert {row.operator for row in ROWS.values()} <= operators_of_the_package()


def test_a_new_operator_without_a_row_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_adobe_audiences.operators import target
    from airflow_provider_adobe_audiences.tasks import operator as base

    class AdobeNewOperator(base.AdobeOperator):
        def execute(self, context: object) -> None: ...

    AdobeNewOperator.__module__ = target.__name__
    AdobeNewOperator.execute.__module__ = target.__name__
    monkeypatch.setattr(target, "AdobeNewOperator", AdobeNewOperator, raising=False)
    assert without_a_row(operators_of_the_package()) == {"AdobeNewOperator"}


def test_each_row_meets_each_act_of_people_or_a_reason_is_given() -> None:
    assert set(EDITS) | set(NOT_EDITED) == set(ROWS)
    assert not set(EDITS) & set(NOT_EDITED)
    for row in ROWS:
        assert {act.group for act in ACTS.values() if act.can_happen_to(row) or row in act.not_with} >= {
            "clear",
            "mark",
            "delete the run",
            "backfill",
            "two deployments",
            "zombie",
        }
    with_a_source = {row.operator for row in ROWS.values() if reads_a_source(row.operator)}
    tried = {find(name).operator for name in SOURCES}
    assert with_a_source - tried == set(NO_SOURCE_CHANGES)


def reads_a_source(name: str) -> bool:
    kinds = [
        kind
        for package in (operators, sensors)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for kind in vars(importlib.import_module(module.name)).values()
        if isinstance(kind, type) and kind.__name__ == name
    ]
    return any({"source", "desired", "files"} & set(getattr(kind, "template_fields", ())) for kind in kinds)


def test_what_is_not_tried_is_a_fault_that_there_is_with_a_reason() -> None:
    for row in ROWS.values():
        assert set(row.not_with) <= set(FAULTS)
        assert all(row.not_with.values())


def test_the_page_on_reliability_has_the_rows_the_faults_and_the_gaps_of_the_matrix() -> None:
    text = PAGE.read_text()
    assert page(text, counts_of_page(text), people_table.counts_of_page(text)) == text, (
        "run python -m tests.faults.table, or make faults for new counts"
    )
