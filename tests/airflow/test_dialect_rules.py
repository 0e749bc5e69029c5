# SPDX-License-Identifier: Apache-2.0
"""The rules of the dialect themselves: what follows them passes, and each of them can fail."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Unpack

import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments, SensorArguments
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import Count, PositiveDuration, Seconds, Template, Text
from tests.airflow.dialect import TASK_RULES, arguments, checks_rendered, does_something


class Good(AdobeOperator):
    """Do nothing, and follow every rule.

    :param name: a name (templated).
    :param force: whether to do it anyhow (templated).
    :param tags: lists by name (templated).
    :param mode: what to do.
    :param poll_interval: seconds between two polls.
    :param timeout: longest wait.
    :param max_failed_rows: how many rows may fail.
    :param deferrable: wait in the triggerer.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    :returns: ``{"group_id"}``
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name", "force", "tags")

    def __init__(
        self,
        *,
        name: Text | Template,
        force: bool | Template = False,
        tags: Mapping[str, Sequence[str]] | Template | None = None,
        mode: Literal["apply", "plan"],
        poll_interval: Seconds = 30.0,
        timeout: PositiveDuration = timedelta(hours=1),
        max_failed_rows: Count | None = 0,
        deferrable: bool = False,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.name: Any = name
        self.force: Any = force
        self.tags: Any = tags
        self.mode = mode
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.max_failed_rows = max_failed_rows
        self.deferrable = deferrable
        self.check_constants()

    @functools.cached_property
    def hook(self) -> BaseHook:
        return BaseHook()

    def execute(self, context: Any) -> Any:
        with fail_without_retry():
            self.check_arguments()


class Hides(Good):
    """Hides its parameters.

    :param extra: whatever.
    """

    def __init__(self, *, extra: Any = None, files: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extra = extra
        self.files = files
        self.check_constants()


class ChecksNothing(Good):
    """Checks nothing.

    Returns ``{"groupId"}``.

    :param name: not said to be one.
    :param mode: what to do (templated).
    :param nothing: is no parameter.
    """

    template_fields: Sequence[str] = ("adobe_conn_id", "name", "access_token")

    def __init__(
        self,
        *,
        name: str,
        mode: Literal["apply", "plan"],
        access_token: str = "",
        adobe_conn_id: str = "a",
        **kwargs: Any,
    ) -> None:
        super(Good, self).__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.name = name.lower() if isinstance(name, str) else "lost"
        self.mode = mode
        self.access_token = access_token
        self.open = lambda: None

    @property
    def hook(self) -> BaseHook:  # type: ignore[override]
        return BaseHook()

    def execute(self, context: Any) -> Any:
        return self.name


@pytest.fixture(autouse=True)
def as_if_they_were_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Good, Hides, ChecksNothing):
        monkeypatch.setattr(kind, "__module__", "airflow_provider_adobe_audiences.operators.specimen")
        monkeypatch.setattr(kind.execute, "__module__", kind.__module__)


@pytest.mark.parametrize("rule", TASK_RULES)
def test_what_follows_every_rule_passes(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if rule == "pickles":
        # Its types are remembered by now: they are those of a class of this package.
        Good(task_id="t", **arguments(Good))
        monkeypatch.setattr(Good, "__module__", __name__)
    assert TASK_RULES[rule](Good) == []
    assert does_something(Good) or rule == "pickles"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("signature", "hides mode"),
        ("signature", "hides adobe_conn_id"),
        ("signature", "**kwargs is Any, not Unpack[OperatorArguments]"),
        ("names", "files should be source"),
        ("documented", "no :param files:"),
    ],
)
def test_hidden_parameters_are_noticed(rule: str, problem: str) -> None:
    assert problem in TASK_RULES[rule](Hides)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("hook", "hook is property"),
        ("checks", "mode=-1 is taken"),
        ("checks_rendered", "name=-1 is taken"),
        ("guesses_nothing", "takes mode='30'"),
        ("typed", "name is not typed to take an XComArg"),
        ("documented", ":param nothing: is no parameter"),
        ("documented", ":param name: and template_fields differ"),
        ("documented", ":param mode: and template_fields differ"),
        ("documented", "no :returns:"),
        ("xcom_keys_documented", "returns 'groupId'"),
        ("shows_no_secret", "access_token is a template field"),
    ],
)
def test_what_is_not_checked_is_noticed(rule: str, problem: str) -> None:
    assert problem in TASK_RULES[rule](ChecksNothing)


def test_what_cannot_be_pickled_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChecksNothing, "__module__", __name__)
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"pickle|local object"):
        TASK_RULES["pickles"](ChecksNothing)


def test_a_request_before_the_refusal_is_noticed() -> None:
    requests = iter(range(1_000_000))
    assert any("after a request" in problem for problem in checks_rendered(Good, lambda: next(requests)))


def test_airflows_own_arguments_are_all_known() -> None:
    for base, known in ((BaseOperator, OperatorArguments), (BaseSensorOperator, SensorArguments)):
        names = inspect.signature(inspect.unwrap(base.__init__)).parameters.keys() - {"self", "kwargs"}
        assert names <= known.__annotations__.keys()
