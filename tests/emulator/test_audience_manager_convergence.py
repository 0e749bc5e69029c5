# SPDX-License-Identifier: Apache-2.0
"""What the in-memory model promises for generated worlds, promised for as many through HTTP, by what the
emulator's journal says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.groups import sync as run
from airflow_provider_adobe_audiences.groups.changes import DeleteGroup, UpdateGroup
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.names import canonical_name
from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook
from tests.unit.groups_model import worlds

LIMITS = Limits(10_000, 1.0, 1.0, allow_empty=True, allow_empty_desired=True, allow_non_empty_delete=True)


@pytest.fixture
def session(adobe_connection: Any) -> Iterator[AdobeSession]:
    """One for all cases: with a token for each, Airflow's own list of secrets to mask would grow, and slow
    every case down.
    """
    with AdobeAudienceManagerHook().session() as opened:
        yield opened


@pytest.mark.timeout(600)
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    worlds(),
    st.sampled_from(["array_unless_paged", "envelope"]),
    st.sampled_from(["off", "unless_header", "always"]),
)
def test_one_apply_converges_through_the_emulator(
    emulator: Any, session: AdobeSession, world: Any, shape: str, escaping: str
) -> None:
    model, desired, scope = world
    emulator.audience_manager.reset()
    emulator.journal.clear()
    emulator.switches.update({"group_list_shape": shape, "group_html_escaping": escaping})
    aam = emulator.audience_manager
    for stored in model.stored.values():
        group = stored.group
        aam.add_group(
            group["name"],
            group["description"],
            wildcards=group["wildcards"],
            permissions=stored.permissions,
            users=[aam.add_user(f"user {user}").user_id for user in group["users"]],
        )
    before = {group["groupId"]: group for group in aam.snapshot()["groups"]}

    plan, live = run.plan(session.send, desired, target="here", scope=scope, limits=LIMITS)
    assert emulator.journal.writes() == []
    run.apply(session.send, plan.changes, live)
    # Where a host escapes although it was asked not to, a text that went back as it came shows it, and is
    # sent once more.
    updates = [change for change in plan.changes if isinstance(change, UpdateGroup)]
    repairs = len(emulator.journal.writes()) - len(plan.changes)
    assert 0 <= repairs <= (len(updates) if escaping == "always" else 0)
    emulator.journal.clear()
    again, live = run.plan(session.send, desired, target="here", scope=scope, limits=LIMITS)
    run.apply(session.send, again.changes, live)

    assert again.changes == ()
    assert emulator.journal.writes() == []
    after = {group["groupId"]: group for group in aam.snapshot()["groups"]}
    described = {canonical_name(wanted.name) for wanted in desired.groups if wanted.manages_description}
    for change in updates:
        if canonical_name(change.after.name) not in described:
            assert after[change.group_id]["description"] == before[change.group_id]["description"]
    touched = {getattr(change, "group_id", None) for change in plan.changes}
    deleted = {change.group_id for change in plan.changes if isinstance(change, DeleteGroup)}
    assert set(before) - set(after) == deleted
    for group_id, group in before.items():
        if group_id not in touched:
            assert after[group_id] == group
        elif group_id not in deleted:
            assert [after[group_id][key] for key in ("users", "wildcards")] == [
                group[key] for key in ("users", "wildcards")
            ]
    names = {canonical_name(group["name"]) for group in after.values()}
    assert {canonical_name(wanted.name) for wanted in desired.groups} <= names
