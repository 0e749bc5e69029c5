# SPDX-License-Identifier: Apache-2.0
"""The one check of arguments: what it refuses, when, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.tasks import validation
from airflow_provider_adobe_audiences.tasks.validation import (
    CheckedArguments,
    Count,
    Duration,
    Hidden,
    Ratio,
    Seconds,
    Template,
    Text,
)

Rows = Annotated[Sequence[Mapping[str, Any]], Hidden]


class AnOperator(CheckedArguments, BaseOperator):
    template_fields = ("name", "force", "tags", "rows", "min_remaining")

    def __init__(
        self,
        *,
        name: Text | Template = "a",
        force: bool | Template = False,
        tags: Mapping[str, list[str]] | Template | None = None,
        rows: Rows | Template | None = None,
        min_remaining: Duration | Template = timedelta(days=1),
        poll_interval: Seconds = 30.0,
        max_failed_rows: Count | None = 0,
        ratio: Ratio = 0.25,
        mode: Literal["apply", "plan"] = "plan",
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name: Any = name
        self.force: Any = force
        self.tags: Any = tags
        self.rows: Any = rows
        self.min_remaining: Any = min_remaining
        self.poll_interval = poll_interval
        self.max_failed_rows = max_failed_rows
        self.ratio = ratio
        self.mode = mode
        self.deferrable = deferrable
        self.check_constants()


@pytest.fixture(autouse=True)
def as_if_it_were_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_PACKAGE", "tests.")
    monkeypatch.setattr(AnOperator, "__module__", "tests.airflow.test_argument_checks")
    validation.argument_types.cache_clear()


CONSTANTS = [
    ("deferrable", "False", "argument 'deferrable' is 'False': should be a valid boolean"),
    ("deferrable", 1, "argument 'deferrable' is 1: should be a valid boolean"),
    ("poll_interval", 0, "argument 'poll_interval' is 0: should be greater than 0"),
    ("poll_interval", "30", "argument 'poll_interval' is '30': should be a valid number"),
    ("poll_interval", float("nan"), "argument 'poll_interval' is nan: should be a finite number"),
    ("max_failed_rows", -1, "argument 'max_failed_rows' is -1: should be greater than or equal to "),
    ("max_failed_rows", True, "argument 'max_failed_rows' is True: should be a valid integer"),
    ("ratio", 1.5, "argument 'ratio' is 1.5: should be less than or equal to 1"),
    ("mode", "aply", "argument 'mode' is 'aply': should be 'apply' or 'plan'"),
]


@pytest.mark.parametrize(("argument", "value", "message"), CONSTANTS)
def test_what_no_template_can_change_is_refused_when_the_dag_is_parsed(argument, value, message) -> None:
    with pytest.raises(AdobeConfigurationError) as caught:
        AnOperator(task_id="t", **{argument: value})

    assert message in str(caught.value)


RENDERED = [
    ("force", "False", "argument 'force' is 'False': should be a valid boolean"),
    ("tags", {"owner": "crm-team"}, "argument 'tags.owner' is 'crm-team': should be a valid list"),
    ("tags", "owner", "argument 'tags' is 'owner': should be a valid dictionary"),
    ("name", None, "argument 'name' is None: should be a valid string"),
    ("name", "", "argument 'name' is ''"),
    ("min_remaining", "14", "argument 'min_remaining' is '14'"),
    ("min_remaining", timedelta(-1), "argument 'min_remaining'"),
]


@pytest.mark.parametrize(("argument", "value", "message"), RENDERED)
def test_what_a_template_gives_is_refused_when_the_task_begins(argument, value, message) -> None:
    operator = AnOperator(task_id="t", **{argument: "{{ anything }}"})
    setattr(operator, argument, value)

    with pytest.raises(AdobeConfigurationError) as caught:
        operator.check_arguments()

    assert message in str(caught.value)


def test_a_text_for_a_bool_says_how_to_write_it() -> None:
    operator = AnOperator(task_id="t", force="{{ params.force }}")
    operator.force = "True"

    with pytest.raises(AdobeConfigurationError, match="render_template_as_native_obj=True"):
        operator.check_arguments()


def test_what_is_no_template_field_is_given_no_advice_about_templates() -> None:
    with pytest.raises(AdobeConfigurationError, match="should be a valid boolean") as caught:
        AnOperator(task_id="t", deferrable="{{ params.deferrable }}")
    assert "render_template" not in str(caught.value)


def test_a_time_that_is_out_of_bounds_is_given_no_advice_about_templates() -> None:
    operator = AnOperator(task_id="t", min_remaining="{{ anything }}")
    operator.min_remaining = "-P1D"
    rule = r"argument 'min_remaining' is .*: should be greater than or equal to "
    with pytest.raises(AdobeConfigurationError, match=rule) as caught:
        operator.check_arguments()
    assert "render_template" not in str(caught.value)


def test_customers_rows_are_never_shown() -> None:
    operator = AnOperator(task_id="t")
    operator.rows = [{"mail": "a@b.example"}, "c@d.example"]

    with pytest.raises(AdobeConfigurationError) as caught:
        operator.check_arguments()

    assert "argument 'rows.1' is str: should be a valid dictionary" in str(caught.value)
    assert "example" not in str(caught.value)


def test_good_values_pass_and_a_duration_in_iso_8601_becomes_one() -> None:
    operator = AnOperator(task_id="t", min_remaining="P14D", tags={"owner": ["crm"]}, rows=[{"id": 1}])

    operator.check_arguments()

    assert operator.min_remaining == timedelta(days=14)


def test_every_wrong_argument_is_named_at_once() -> None:
    with pytest.raises(AdobeConfigurationError) as caught:
        AnOperator(task_id="t", deferrable="yes", ratio=2.0)

    assert "'deferrable'" in str(caught.value)
    assert "'ratio'" in str(caught.value)
