# SPDX-License-Identifier: Apache-2.0
"""Names that change hands: chains, exchanges, and what is left when a task dies halfway."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.errors import AmbiguousGroupsError, DesiredStateError
from airflow_provider_adobe_audiences.groups.changes import Plan, UpdateGroup
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.live import Live, Scope
from airflow_provider_adobe_audiences.groups.plan import make
from airflow_provider_adobe_audiences.groups.spec import DesiredState, load_value
from airflow_provider_adobe_audiences.groups.sync import apply, plan
from tests.unit.groups_model import FastAdobe, group


def declare(*groups: dict[str, object]) -> DesiredState:
    return load_value({"groups": list(groups)})


def renames(made: Plan) -> list[tuple[int, str, str, bool]]:
    return [
        (change.group_id, change.before.name, change.after.name, change.through is not None)
        for change in made.changes
        if isinstance(change, UpdateGroup)
    ]


def planned(adobe: FastAdobe, desired: DesiredState) -> tuple[Plan, Live]:
    return plan(adobe.send, desired, target="x", scope=Scope(), limits=Limits(), concurrency=1)


CHAIN = declare({"name": "B", "previously": ["A"]}, {"name": "C", "previously": ["B"]})
EXCHANGE = declare({"name": "B", "groupId": 1}, {"name": "A", "groupId": 2})


def test_a_chain_of_names_is_renamed_from_its_end():
    made = make(CHAIN, Live((group(1, "A"), group(2, "B"))), target="x")

    assert renames(made) == [(2, "B", "C", False), (1, "A", "B", False)]
    assert make(CHAIN, Live((group(1, "B"), group(2, "C"))), target="x").changes == ()
    assert renames(make(CHAIN, Live((group(1, "A"), group(2, "C"))), target="x")) == [(1, "A", "B", False)]


def test_names_are_exchanged_through_a_temporary_one():
    made = make(EXCHANGE, Live((group(1, "A"), group(2, "B"))), target="x")

    assert renames(made) == [(2, "B", "A", False), (1, "A", "B", True)]
    assert make(EXCHANGE, Live((group(1, "B"), group(2, "A"))), target="x").changes == ()


def test_one_id_is_enough_to_exchange_names():
    desired = declare({"name": "B", "groupId": 1}, {"name": "A", "previously": ["B"]})

    assert renames(make(desired, Live((group(1, "A"), group(2, "B"))), target="x")) == [
        (2, "B", "A", False),
        (1, "A", "B", True),
    ]
    assert make(desired, Live((group(1, "B"), group(2, "A"))), target="x").changes == ()


def test_an_exchange_without_an_id_is_refused_for_nobody_could_tell_whether_it_has_happened():
    with pytest.raises(DesiredStateError, match="exchange their names: pin them with groupId"):
        declare({"name": "B", "previously": ["A"]}, {"name": "A", "previously": ["B"]})
    with pytest.raises(DesiredStateError, match="exchange their names: pin them with groupId"):
        declare(
            {"name": "B", "previously": ["A"]},
            {"name": "C", "previously": ["B"]},
            {"name": "A", "previously": ["C"]},
        )


def test_a_chain_that_lost_a_link_is_not_guessed():
    with pytest.raises(AmbiguousGroupsError, match="'B' and 'C' both mean the live group 'B'"):
        make(CHAIN, Live((group(1, "B"),)), target="x")


@pytest.mark.parametrize("desired", [CHAIN, EXCHANGE])
@pytest.mark.parametrize("after", range(4))
def test_a_task_that_dies_between_two_renames_is_finished_by_the_next(desired, after):
    adobe = FastAdobe()
    adobe.add("A", "first", users=[1])
    adobe.add("B", "second", users=[2])
    made, live = planned(adobe, desired)
    alive = itertools.count()

    def send(call: Any) -> Any:
        if call.method == "PUT" and next(alive) >= after:
            raise KeyboardInterrupt
        return adobe.send(call)

    try:
        apply(send, made.changes, live, concurrency=1)
    except KeyboardInterrupt:
        assert after < 3
    made, live = planned(adobe, desired)
    apply(adobe.send, made.changes, live, concurrency=1)

    expected = {"B": "first", "C": "second"} if desired is CHAIN else {"B": "first", "A": "second"}
    assert {stored.group["name"]: stored.group["description"] for stored in adobe.stored.values()} == expected
    assert planned(adobe, desired)[0].changes == ()


@settings(max_examples=200, deadline=None)
@given(st.permutations("ABCDEF"), st.data())
def test_any_permutation_of_names_is_reached_without_two_groups_of_one_name(names, data):
    adobe = FastAdobe()
    for name in "ABCDEF":
        adobe.add(name, f"was {name}")
    order = data.draw(st.permutations(range(6)))
    desired = declare(*({"name": names[number], "groupId": number + 1} for number in order))
    made, live = planned(adobe, desired)

    def send(call: Any) -> Any:
        response = adobe.send(call)
        now = [stored.group["name"] for stored in adobe.stored.values()]
        assert len(set(now)) == len(now)
        return response

    apply(send, made.changes, live, concurrency=1)

    assert [adobe.stored[number + 1].group["name"] for number in range(6)] == list(names)
    assert [adobe.stored[number + 1].group["description"] for number in range(6)] == [
        f"was {name}" for name in "ABCDEF"
    ]
    assert planned(adobe, desired)[0].changes == ()
