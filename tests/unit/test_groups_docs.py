# SPDX-License-Identifier: Apache-2.0
"""The page about Audience Manager says what the code does."""

from __future__ import annotations

import inspect
import re

import pytest

from airflow_provider_adobe_audiences.adobe.audience_manager import OBJECT_PERMISSIONS
from airflow_provider_adobe_audiences.groups.document import parse
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.spec import load


@pytest.fixture
def page(repo):
    return (repo / "docs" / "audience-manager.md").read_text()


def test_every_switch_of_the_emulator_is_listed(page):
    from airflow_provider_adobe_audiences.emulator.core import Emulator

    rows = [row for row in Emulator().switches.markdown().splitlines() if "| audience_manager |" in row]

    assert len(rows) > 20
    assert [row for row in rows if row.replace("| audience_manager ", "", 1) not in page] == []


def test_the_declaration_that_is_shown_is_valid(page):
    (sample,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    assert load(parse(sample.encode(), "sample.yaml")).groups[0].group_id == 1042


def test_the_permissions_that_are_listed_are_those_that_exist(page):
    for kind, tokens in OBJECT_PERMISSIONS.items():
        assert f"| `{kind}` | {', '.join(f'`{token}`' for token in tokens)} |" in page


def test_the_guards_and_their_defaults_are_those_of_the_operators(page):
    from airflow_provider_adobe_audiences.operators import audience_manager as operators

    for name in Limits.__dataclass_fields__:
        default = getattr(Limits(), name)
        for operator in (operators.AdobeSyncGroupsOperator, operators.AdobePlanGroupsOperator):
            assert inspect.signature(operator).parameters[name].default == default
        shown = (
            "none"
            if name == "protected"
            else str(default)
            if not isinstance(default, bool)
            else f"`{default}`"
        )
        assert f"| `{name}` | {shown} |" in page


def test_every_operator_is_named(page):
    from airflow_provider_adobe_audiences.operators import audience_manager as operators

    names = [
        name
        for name in vars(operators)
        if name.startswith("Adobe") and name.endswith("Operator") and name != "AdobeOperator"
    ]
    assert len(names) == 11
    assert [name for name in names if name not in page] == []
