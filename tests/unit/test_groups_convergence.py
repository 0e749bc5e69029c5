# SPDX-License-Identifier: Apache-2.0
"""Whatever is true and whatever is declared: one apply makes it true, the second run writes nothing, nobody
else is touched.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.audience_manager import Permission
from airflow_provider_adobe_audiences.groups import sync as run
from airflow_provider_adobe_audiences.groups.changes import DeleteGroup, Plan, UpdateGroup
from airflow_provider_adobe_audiences.groups.document import parse
from airflow_provider_adobe_audiences.groups.export import export
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.live import Scope
from airflow_provider_adobe_audiences.groups.names import canonical_name, canonical_permissions
from airflow_provider_adobe_audiences.groups.spec import DesiredState, load
from tests.unit.groups_model import FastAdobe, worlds

LIMITS = Limits(
    10_000,
    1.0,
    1.0,
    allow_empty=True,
    allow_empty_desired=True,
    allow_non_empty_delete=True,
    require_self=False,
)


def planned(adobe: FastAdobe, desired: DesiredState, scope: Scope) -> tuple[Plan, Any]:
    return run.plan(adobe.send, desired, target="here", scope=scope, limits=LIMITS, concurrency=1)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_one_apply_converges_and_the_second_writes_nothing(world):
    adobe, desired, scope = world
    before = {group_id: adobe.frozen(group_id) for group_id in adobe.stored}
    names_before = {group_id: stored.group["name"] for group_id, stored in adobe.stored.items()}
    plan, live = planned(adobe, desired, scope)
    assert adobe.writes == []

    run.apply(adobe.send, plan.changes, live, concurrency=1)

    # Every request that writes was in the plan, and no other.
    assert len(adobe.writes) == len(plan.changes)
    again, _ = planned(adobe, desired, scope)
    assert again.changes == ()
    # What is declared is true.
    by_name = {canonical_name(stored.group["name"]): stored for stored in adobe.stored.values()}
    for wanted in desired.groups:
        stored = by_name[canonical_name(wanted.name)]
        if wanted.manages_description:
            assert (stored.group["description"] or "").strip() == (wanted.description or "").strip()
        if wanted.rows is not None:
            assert adobe.permissions(stored.group["name"]) == wanted.rows
    # A rename keeps the group, its members and its wildcards; it never deletes.
    for change in plan.changes:
        if isinstance(change, UpdateGroup):
            assert change.group_id in adobe.stored
    former = {canonical_name(name) for wanted in desired.groups for name in wanted.previously}
    deleted = {change.group_id for change in plan.changes if isinstance(change, DeleteGroup)}
    assert not any(canonical_name(names_before[group_id]) in former for group_id in deleted)
    # Nobody else is touched: only groups that a change names, and only in what it names.
    touched = {getattr(change, "group_id", None) for change in plan.changes}
    for group_id, was in before.items():
        if group_id not in touched:
            assert adobe.frozen(group_id) == was
    for group_id in set(before) - deleted:
        for key in ("users", "wildcards", "membershipCount"):
            assert adobe.stored[group_id].group[key] == json.loads(before[group_id])[0][key]
    assert all(scope.prune and scope.covers(live.names[group_id], group_id) for group_id in deleted)
    assert not any(scope.protects(names_before[group_id]) for group_id in deleted)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_is_exported_plans_to_nothing(world):
    adobe, _, _ = world
    ids = list(adobe.stored)
    live = run.read_all(adobe.send, concurrency=1)
    text = export(live)

    plan, _ = planned(adobe, load(parse(text.encode(), "export.yaml")), Scope())

    assert plan.changes == ()
    assert plan.findings == ()
    assert plan.unchanged == len(ids)
    assert adobe.writes == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["TRAIT", "SEGMENT"]), st.integers(1, 3), st.lists(st.sampled_from("ABC"))),
        max_size=6,
    ),
    st.randoms(),
)
def test_the_canonical_form_does_not_depend_on_order_or_repetition(given_rows, random):
    permissions = [Permission(kind, object_id, tuple(tokens)) for kind, object_id, tokens in given_rows]
    shuffled = [*permissions, *permissions]
    random.shuffle(shuffled)

    assert canonical_permissions(shuffled) == canonical_permissions(permissions)
    assert canonical_permissions(canonical_permissions(permissions)) == canonical_permissions(permissions)
