# SPDX-License-Identifier: Apache-2.0
"""Other people at work: what they change, create or join while a sync or an approval is under way stays
theirs.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_adobe_audiences.cli import main
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, ApplyError, StalePlanError
from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobePlanGroupsOperator,
    AdobeSetGroupPermissionsOperator,
    AdobeSyncGroupsOperator,
)
from tests.airflow.test_audience_manager_operators import (
    READ,
    WRITE,
    applied,
    by_name,
    execute,
    hold_and_change,
    planned,
    sync,
)

pytestmark = pytest.mark.usefixtures("adobe_connection")

PRUNE: dict[str, Any] = {"prune": True, "managed_groups": "EMEA.*", "max_delete_ratio": 1.0}


@pytest.fixture
def aam(emulator: Any) -> Any:
    return emulator.audience_manager


@pytest.fixture
def old(aam: Any) -> Any:
    """A group that a plan deletes, with one member, and somebody who may take that place."""
    ann = aam.add_user("ann")
    aam.add_user("bob")
    return aam.add_group("EMEA Old", "nobody uses it", permissions=[READ], users=[ann.user_id])


def exchange_members(aam: Any, group: Any) -> None:
    aam.leave(1001, group.group_id)
    aam.join(1002, group.group_id)


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "permissions": lambda aam, group: group.permissions.append(WRITE),
    "description": lambda aam, group: setattr(group, "description", "IN USE, do not delete"),
    "wildcards": lambda aam, group: group.wildcards.append("VIEW_TAGS"),
    "users": exchange_members,
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_approved_plan_does_not_delete_a_group_that_has_changed(emulator, aam, old, what):
    plan = planned({"groups": []}, allow_empty_desired=True, allow_non_empty_delete=True, **PRUNE)
    CHANGES[what](aam, old)
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match=f"changed since it was planned: its {what}"):
        applied(plan)

    assert emulator.journal.writes() == []


@pytest.mark.parametrize("what", CHANGES)
def test_a_sync_does_not_delete_a_group_that_changes_meanwhile(emulator, aam, old, what):
    hold_and_change(emulator, "POST", "/groups/$", lambda: CHANGES[what](aam, old))

    with pytest.raises(StalePlanError, match=f"changed since it was planned: its {what}"):
        sync({"groups": [{"name": "EMEA New"}]}, allow_non_empty_delete=True, **PRUNE)

    assert "EMEA Old" in by_name(aam)


def test_a_group_that_changes_while_earlier_ones_are_deleted_is_looked_at_again(emulator, aam):
    first, second = aam.add_group("EMEA 1"), aam.add_group("EMEA 2")
    ann = aam.add_user("ann")
    hold_and_change(
        emulator, "DELETE", f"/groups/{first.group_id}$", lambda: aam.join(ann.user_id, second.group_id)
    )

    with pytest.raises(StalePlanError, match="has 1 member now, not 0"):
        sync({"groups": []}, allow_empty_desired=True, **PRUNE)

    assert list(by_name(aam)) == ["EMEA 2"]


def test_a_description_or_name_that_somebody_writes_meanwhile_is_not_overwritten(emulator, aam):
    one = aam.add_group("A", "by hand")
    aam.add_group("B", "by hand")
    desired = {"groups": [{"name": "new B", "previously": ["B"]}, {"name": "new A", "previously": ["A"]}]}
    hold_and_change(emulator, "PUT", "/groups/1002$", lambda: setattr(one, "description", "just written"))

    with pytest.raises(StalePlanError, match="name or description is now 'A', 'just written'"):
        sync(desired)

    assert (one.name, one.description) == ("A", "just written")
    sync(desired)
    assert (one.name, one.description) == ("new A", "just written")


def test_a_group_that_somebody_creates_meanwhile_is_not_doubled(emulator, aam):
    aam.add_group("A", permissions=[READ])
    desired = {"groups": [{"name": "A", "permissions": [WRITE]}, {"name": "New", "permissions": [READ]}]}
    hold_and_change(emulator, "GET", "/groups/1001/permissions$", lambda: aam.add_group("New"))

    assert {entry["outcome"] for entry in sync(desired)["groups"]} == {"applied", "already"}

    assert sorted(by_name(aam)) == ["A", "New"]


# Equal, or such that a person cannot tell them from "New".
SEEM_NEW = ("New", "new", "\uff2eew", "N\u200bew", "New ")
TO_NEW: dict[str, Any] = {
    "create": {"groups": [{"name": "New", "description": "planned"}]},
    "rename": {"groups": [{"name": "New", "previously": ["Old"]}]},
}


@pytest.mark.parametrize("name", SEEM_NEW)
@pytest.mark.parametrize("kind", TO_NEW)
def test_an_approved_plan_makes_no_name_that_somebody_has_taken_meanwhile(emulator, aam, kind, name):
    aam.add_group("Old")
    plan = planned(TO_NEW[kind])
    aam.add_group(name, "by somebody else")
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match=rf"the plan is stale, nothing was changed: {kind}.*'?New"):
        applied(plan)

    assert emulator.journal.writes() == []


def test_an_approved_plan_exchanges_names_and_hands_them_on(aam):
    for name in ("A", "B", "1", "2"):
        aam.add_group(name)
    desired = {
        "groups": [
            {"name": "A", "groupId": 1002},
            {"name": "B", "groupId": 1001},
            {"name": "3", "previously": ["2"]},
            {"name": "2", "previously": ["1"]},
        ]
    }
    plan = planned(desired)

    assert applied(plan)["written"] == 4
    assert {name: group.group_id for name, group in by_name(aam).items()} == {
        "A": 1002,
        "B": 1001,
        "2": 1003,
        "3": 1004,
    }
    assert applied(plan)["written"] == 0


@pytest.mark.parametrize("name", SEEM_NEW)
@pytest.mark.parametrize("kind", TO_NEW)
def test_a_name_that_somebody_takes_while_a_sync_writes_is_not_green(emulator, aam, kind, name):
    aam.add_group("Old")
    method, path = ("POST", "/groups/$") if kind == "create" else ("PUT", "/groups/1001$")
    hold_and_change(emulator, method, path, lambda: aam.add_group(name, "by somebody else"))

    with pytest.raises(
        ApplyError, match=r"are not true: .*(groupId 1002 is named|2 group\(s\) with this name)"
    ):
        sync(TO_NEW[kind])


def test_one_list_that_lacks_a_group_makes_no_duplicate(emulator, aam):
    aam.add_group("A")
    emulator.faults.add(method="GET", path="/groups/$", times=1, status=200, body=[])

    sync({"groups": [{"name": "A"}]})

    assert list(by_name(aam)) == ["A"]


def test_one_sync_at_a_time_is_the_default():
    sync_task = AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="apply")
    apply_task = AdobeApplyGroupsPlanOperator(task_id="u", plan={})
    assert sync_task.max_active_tis_per_dag == apply_task.max_active_tis_per_dag == 1
    many = AdobeSyncGroupsOperator(
        task_id="v", desired={"groups": []}, mode="check", max_active_tis_per_dag=None
    )
    assert many.max_active_tis_per_dag is None


# -- permissions that a PUT takes along


@pytest.mark.parametrize("declared", [{}, {"permissions": [READ]}])
def test_a_rename_that_wipes_permissions_is_loud_and_puts_them_back(emulator, aam, declared):
    group = aam.add_group("A", permissions=[READ])
    emulator.switches["group_wipe_on_put"] = True

    with pytest.raises(AirflowFailException, match="1 permission lost, and put back"):
        sync({"groups": [{"name": "B", "previously": ["A"], **declared}]})

    assert group.permissions == [READ]


# -- approvals


@pytest.fixture
def to_approve(aam: Any) -> Any:
    me = aam.add_user("emulator-client")
    aam.add_group("EMEA Old")
    aam.add_group("EMEA Rich", permissions=[READ, WRITE])
    return me


def approved(**more: Any) -> Any:
    return planned({"groups": [{"name": "EMEA Rich"}]}, **PRUNE, **more)


def test_a_plan_of_another_run_is_refused(emulator, to_approve):
    plan = approved()
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="the plan was made in another run: 'run'"):
        execute(AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan), run_id="another")

    assert emulator.journal.entries == []


def test_an_older_plan_of_the_same_run_is_refused_after_its_maximum_age(emulator, to_approve):
    plan = approved()
    time.sleep(0.01)
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="older than max_age"):
        applied(plan, max_age=timedelta(milliseconds=1))

    assert emulator.journal.entries == []


def test_a_text_that_shows_less_than_the_plan_is_refused(emulator, to_approve):
    plan = approved()
    harmless = {**plan, "markdown": "**1 to create**"}

    with pytest.raises(AirflowFailException, match="what was shown for approval is not what the plan says"):
        applied(harmless)


def test_another_user_may_not_apply_the_plan(emulator, to_approve, adobe_connection, monkeypatch):
    plan = approved()
    other = {**adobe_connection(), "login": "somebody-else"}
    monkeypatch.setenv("AIRFLOW_CONN_ADOBE_DEFAULT", json.dumps(other))
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="the plan was made in another user"):
        applied(plan)

    assert emulator.journal.entries == []


def test_the_groups_of_the_calling_user_are_spared_also_when_the_plan_is_applied(emulator, aam, to_approve):
    plan = planned(
        {"groups": [{"name": "EMEA Rich", "permissions": [READ]}]}, max_permission_removal_ratio=1.0
    )
    aam.join(to_approve.user_id, by_name(aam)["EMEA Rich"].group_id)
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="EMEA Rich hold the calling user now"):
        applied(plan)

    assert emulator.journal.writes() == []


# -- text where a bool or a list is meant


@pytest.mark.parametrize(
    "wrong",
    [
        {"prune": "True"},
        {"allow_empty": "False"},
        {"allow_empty_desired": "False"},
        {"allow_non_empty_delete": "no"},
        {"require_self": "False"},
        {"max_deletes": "5"},
        {"max_deletes": True},
        {"max_delete_ratio": "0.5"},
        {"concurrency": "8"},
        {"concurrency": 65},
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        lambda **more: AdobeSyncGroupsOperator(task_id="t", desired={}, mode="apply", **more),
        lambda **more: AdobePlanGroupsOperator(task_id="t", desired={}, **more),
    ],
)
def test_text_is_no_bool_and_no_number(kind, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(AdobeConfigurationError, match=f"argument '{name}' is {value!r}"):
        kind(**wrong)


def test_text_is_no_bool_for_the_other_operators_either():
    with pytest.raises(AdobeConfigurationError, match="argument 'allow_empty' is 'False'"):
        AdobeSetGroupPermissionsOperator(task_id="t", group_id=1, permissions=[], allow_empty="False")  # type: ignore[arg-type]
    with pytest.raises(AdobeConfigurationError, match="argument 'skip_if_unchanged' is 'False'"):
        AdobePlanGroupsOperator(task_id="t", desired={}, skip_if_unchanged="False")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"managed_groups": "[1001, 1002]"}, "became text"),
        ({"managed_groups": "None"}, "became text"),
        ({"managed_groups": ["0010"]}, "must be a positive integer in decimal digits"),
        ({"managed_groups": ["1_001"]}, "must be a positive integer in decimal digits"),
        ({"protected": "['EMEA Rich']"}, "argument 'protected' is"),
    ],
)
def test_a_list_that_a_template_made_text_of_is_refused_before_any_request(emulator, aam, more, words):
    aam.add_group("EMEA Rich")
    with pytest.raises(AirflowFailException, match=words):
        sync({"groups": []}, prune=True, **{"managed_groups": ".*", **more})
    assert emulator.journal.entries == []


def test_a_pattern_that_covers_nothing_stops_a_run_that_prunes(emulator, aam):
    aam.add_group("EMEA Old")

    with pytest.raises(AirflowFailException, match=r"scope that covers nothing.*allowed by prune=False"):
        sync({"groups": [{"name": "EMEA New"}]}, prune=True, managed_groups="EMAE.*")
    with pytest.raises(AirflowFailException, match="drift"):
        sync({"groups": [{"name": "EMEA Old"}]}, "check", managed_groups="EMAE.*")

    assert emulator.journal.writes() == []


@pytest.mark.parametrize("slip", ["EMEA.*", "EMEA Admnis"])
def test_a_protected_name_that_protects_nothing_stops_a_run_that_prunes(emulator, aam, slip):
    for name in ("EMEA Admins", "x"):
        aam.add_group(name)
    more = {"managed_groups": ".*", "protected": ["x", slip], "max_delete_ratio": 1.0}
    for run in (sync, planned):
        with pytest.raises(
            AirflowFailException, match=r"protected names that no group has: EMEA.*allowed by protected="
        ) as caught:
            run({"groups": []}, prune=True, allow_empty_desired=True, **more)
        assert ("takes whole names" in str(caught.value)) is (slip == "EMEA.*")
    assert emulator.journal.writes() == []

    # What is yet to be created, and what looks like it, is a group; without pruning it is only told.
    sync({"groups": [{"name": "x"}]}, prune=True, **{**more, "protected": ["X", "emea  admins"]})
    found = sync({"groups": [{"name": "x"}]}, **more)["findings"]
    assert ("notice", slip) in [(finding["kind"], finding["name"]) for finding in found]
    assert list(by_name(aam)) == ["EMEA Admins", "x"]


@pytest.mark.parametrize("blank", ["", " ", "\u200b"])
def test_a_protected_name_is_not_blank(emulator, blank):
    with pytest.raises(AirflowFailException, match=r"argument 'protected' is .*none of them blank"):
        sync({"groups": []}, protected=["EMEA Admins", blank])
    assert emulator.journal.entries == []


# -- small and quick


def test_the_result_stays_small_whatever_a_group_may_do(aam):
    many = [{"objectType": "TRAIT", "objectId": number, "permissions": ["READ"]} for number in range(1, 5001)]
    aam.add_group("A", permissions=many)

    result = sync({"groups": [{"name": "A", "permissions": [READ]}]}, max_permission_removal_ratio=1.0)

    assert len(json.dumps(result)) < 5_000
    (entry,) = result["groups"]
    assert (entry["removed"]["count"], len(entry["removed"]["sample"])) == (4999, 5)


def test_an_execution_timeout_ends_a_sync_at_once(emulator, aam):
    """Airflow raises in the main thread from the handler of an alarm; reads are held in others."""
    for number in range(8):
        aam.add_group(f"g{number}", permissions=[READ])
    desired = {"groups": [{"name": f"g{number}", "permissions": [READ]} for number in range(8)]}
    sync(desired)
    emulator.faults.add(method="GET", path="/permissions$", hold=True)

    class TimedOut(BaseException):
        pass

    def time_out(*_: object) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, 1)
    begun = time.monotonic()
    try:
        with pytest.raises(TimedOut):
            sync(desired)
        took = time.monotonic() - begun
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        emulator.faults.clear()
        emulator.holds.release("continue")

    assert took < 8, "the threads were waited for"


# -- groups that share a name


@contextmanager
def command_environment(monkeypatch: pytest.MonkeyPatch, emulator: Any) -> Iterator[None]:
    values = {
        "ADOBE_CLIENT_ID": "emulator-client",
        "ADOBE_CLIENT_SECRET": "emulator-client-secret",
        "ADOBE_ORG_ID": "0123456789ABCDEF01234567@AdobeOrg",
        "ADOBE_IMS_URL": emulator.url,
        "ADOBE_AUDIENCE_MANAGER_URL": emulator.url,
        "ADOBE_SESSION_CACHE": "false",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield


def test_duplicates_are_shown_and_the_empty_one_is_removed_on_request(emulator, aam, monkeypatch, capsys):
    rich = aam.add_group("EMEA Analysts", permissions=[READ])
    empty = aam.add_group("EMEA Analysts")
    first, second = aam.add_group("Twice"), aam.add_group("Twice")
    alike = [aam.add_group("Alike"), aam.add_group("ALIKE")]
    hidden = [aam.add_group("Hidden", inaccessible=True), aam.add_group("Hidden", permissions=[READ])]
    aam.add_group("Alone")
    desired = {"groups": [{"name": "EMEA Analysts", "permissions": [READ]}]}
    with pytest.raises(AirflowFailException, match="`adobe-audiences groups duplicates` shows"):
        sync(desired)

    with command_environment(monkeypatch, emulator):
        assert main(["groups", "duplicates"]) == 0
        shown = capsys.readouterr().out
        assert emulator.journal.writes() == []
        assert main(["groups", "duplicates", "--remove-empty"]) == 0
        removed = capsys.readouterr().out

    assert f"'EMEA Analysts' (groupId {rich.group_id}): 0 members, permissions on 1 object," in shown
    assert (
        f"(groupId {empty.group_id}): 0 members, permissions on 0 objects, 0 wildcards: empty, surplus"
        in shown
    )
    assert f"(groupId {hidden[0].group_id}): 0 members, unknown permissions, 0 wildcards: not empty" in shown
    assert "'ALIKE'" in shown
    assert "Alone" not in shown
    assert removed.count("applied: delete") == 2
    left = set(aam.groups)
    assert {empty.group_id, second.group_id} & left == set()
    assert {rich.group_id, first.group_id, *(group.group_id for group in (*alike, *hidden))} <= left
    sync(desired)


def test_an_empty_duplicate_that_somebody_begins_to_use_is_not_removed(emulator, aam, monkeypatch, capsys):
    aam.add_group("Twice", permissions=[READ])
    second = aam.add_group("Twice")
    ann = aam.add_user("ann")
    meddled = threading.Event()

    def meddle() -> None:
        aam.join(ann.user_id, second.group_id)
        meddled.set()

    # Held at the last read of its permissions, right before the deletion.
    emulator.faults.add(
        method="GET", path=f"/groups/{second.group_id}/permissions$", nth=2, hold=True, times=1
    )

    def watch() -> None:
        emulator.holds.wait(1, 30)
        meddle()
        emulator.holds.release("continue")

    threading.Thread(target=watch, daemon=True).start()
    with command_environment(monkeypatch, emulator):
        assert main(["groups", "duplicates", "--remove-empty"]) == 1

    assert meddled.wait(10)
    assert "has 1 member now, not 0" in capsys.readouterr().err
    assert second.group_id in aam.groups


@pytest.mark.parametrize("path", ("{d}/../secret.yaml", "{d}/out.yaml", "/etc/shadow", "file:///etc/shadow"))
@pytest.mark.parametrize("operator", (AdobePlanGroupsOperator, AdobeSyncGroupsOperator))
def test_groups_outside_of_the_allowed_folders_are_not_read(
    emulator: Any, tmp_path: Path, operator: Any, path: str
) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for file in (tmp_path / "secret.yaml", folder / "in.yaml"):
        file.write_text("groups: []")
    (folder / "out.yaml").symlink_to(tmp_path / "secret.yaml")
    more = {"mode": "plan"} if operator is AdobeSyncGroupsOperator else {"skip_if_unchanged": False}

    def task(desired: str) -> Any:
        return operator(task_id="t", desired=desired, allowed_sources=[str(folder)], **more)

    with pytest.raises(AirflowFailException, match="is outside of allowed_sources"):
        execute(task(path.format(d=folder)))
    assert emulator.journal.entries == [], "before any request"
    assert execute(task(f"{folder}/in.yaml"))["counts"]["create"] == 0
