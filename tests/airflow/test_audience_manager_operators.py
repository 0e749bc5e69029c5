# SPDX-License-Identifier: Apache-2.0
"""Audience Manager's operators against the emulator, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeServerError,
    ApplyError,
    StalePlanError,
)
from airflow_provider_adobe_audiences.operators.audience_manager import (
    AdobeApplyGroupsPlanOperator,
    AdobeBulkDeleteGroupsOperator,
    AdobeCreateGroupOperator,
    AdobeDeleteGroupOperator,
    AdobeGetGroupOperator,
    AdobeListGroupPermissionsOperator,
    AdobeListGroupsOperator,
    AdobePlanGroupsOperator,
    AdobeSetGroupPermissionsOperator,
    AdobeSyncGroupsOperator,
    AdobeUpdateGroupOperator,
)

pytestmark = pytest.mark.usefixtures("adobe_connection")

READ = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}
WRITE = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ", "WRITE"]}
OTHER = {"objectType": "SEGMENT", "objectId": 2, "permissions": ["READ"]}


def execute(operator: Any, run_id: str = "run") -> Any:
    """Run one try of an operator; what it returns must survive JSON."""
    operator.render_template_fields({})
    pushed: dict[str, Any] = {}
    task = SimpleNamespace(
        try_number=1, dag_id="dag", run_id=run_id, xcom_push=lambda key, value: pushed.update({key: value})
    )
    result = operator.execute({"ti": task})
    assert json.loads(json.dumps(result)) == result
    ids = {key: result[key] for key in ("group_id",) if isinstance(result, dict) and key in result}
    assert pushed == ids, "ids are keys of their own"
    return result


def sync(desired: Any, mode: Any = "apply", **more: Any) -> Any:
    return execute(AdobeSyncGroupsOperator(task_id="sync", desired=desired, mode=mode, **more))


def planned(desired: Any, **more: Any) -> Any:
    return execute(AdobePlanGroupsOperator(task_id="plan", desired=desired, **more))


def applied(plan: Any, **more: Any) -> Any:
    return execute(AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan, **more))


@pytest.fixture
def aam(emulator: Any) -> Any:
    return emulator.audience_manager


def by_name(aam: Any) -> dict[str, Any]:
    groups = {group.name: group for group in aam.groups.values()}
    assert len(groups) == len(aam.groups), "there are duplicates"
    return groups


def writes(emulator: Any) -> list[tuple[str, str]]:
    return [(entry.method, entry.path.removeprefix("/api/v1")) for entry in emulator.journal.writes()]


# -- one operator per call


def test_create(emulator, aam):
    first = execute(AdobeCreateGroupOperator(task_id="t", name="A", description="d"))
    assert first == {
        "group_id": 1001,
        "name": "A",
        "description": "d",
        "membership_count": 0,
        "created": True,
    }
    assert execute(AdobeCreateGroupOperator(task_id="t", name="A")) == {**first, "created": False}
    assert (
        execute(AdobeCreateGroupOperator(task_id="t", name="A", description="e", if_exists="update"))[
            "description"
        ]
        == "e"
    )
    with pytest.raises(AirflowFailException, match="exists"):
        execute(AdobeCreateGroupOperator(task_id="t", name="A", if_exists="fail"))
    assert len(aam.groups) == 1


def test_update_get_list_and_delete(emulator, aam):
    group_id = aam.add_group("A", wildcards=["VIEW_TAGS"]).group_id
    for number in range(3):
        aam.add_group(f"B{number}")

    updated = execute(
        AdobeUpdateGroupOperator(task_id="t", group_id=str(group_id), name="C", description=None)
    )
    assert updated == {"group_id": group_id, "name": "C", "description": None, "membership_count": 0}
    found = execute(AdobeGetGroupOperator(task_id="t", group_id=group_id))
    assert (found["wildcards"], found["users"], found["pid"]) == (["VIEW_TAGS"], [], 1194)
    listed = execute(AdobeListGroupsOperator(task_id="t", name_pattern="B.*"))
    assert (listed["count"], [group["name"] for group in listed["groups"]]) == (3, ["B0", "B1", "B2"])
    with pytest.raises(AirflowFailException, match="max_groups=2"):
        execute(AdobeListGroupsOperator(task_id="t", max_groups=2))
    assert execute(AdobeDeleteGroupOperator(task_id="t", group_id=group_id)) == {
        "group_id": group_id,
        "deleted": True,
    }
    assert execute(AdobeDeleteGroupOperator(task_id="t", group_id=group_id)) == {
        "group_id": group_id,
        "deleted": False,
    }


@pytest.mark.parametrize("name", ["B", " B", "b", "\uff22", "B\u200b"])
def test_an_update_gives_no_name_that_another_group_has_or_seems_to_have(emulator, aam, name):
    for other in ("A", "B"):
        aam.add_group(other)

    with pytest.raises(
        AirflowFailException, match=r"groupId 1001 cannot be renamed .*groupId 1002 (has|is nam)"
    ):
        execute(AdobeUpdateGroupOperator(task_id="t", group_id=1001, name=name, description=None))

    assert writes(emulator) == []


def test_an_update_that_keeps_the_name_works_where_there_are_duplicates(aam):
    for name in ("A", "A", "a"):
        aam.add_group(name)

    execute(AdobeUpdateGroupOperator(task_id="t", group_id=1001, name="A", description="d"))

    assert [(group.name, group.description) for group in aam.groups.values()] == [
        ("A", "d"),
        ("A", None),
        ("a", None),
    ]


def test_an_update_may_change_the_case_of_a_name(aam):
    aam.add_group("a")

    execute(AdobeUpdateGroupOperator(task_id="t", group_id=1001, name="A", description=None))

    assert list(by_name(aam)) == ["A"]


def test_an_update_after_which_permissions_cannot_be_read_is_not_taken_for_a_success(emulator, aam):
    group_id = aam.add_group("A", permissions=[READ]).group_id
    emulator.faults.add(method="GET", path=rf"/groups/{group_id}/permissions", nth=2, status=403)

    with pytest.raises(AirflowFailException, match="could be read before and cannot be read any more"):
        execute(AdobeUpdateGroupOperator(task_id="t", group_id=group_id, name="C", description=None))


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_bulk_delete(aam, method):
    ids = [aam.add_group(name).group_id for name in "abc"]

    result = execute(
        AdobeBulkDeleteGroupsOperator(task_id="t", group_ids=[ids[0], str(ids[1]), 9], method=method)
    )

    assert result == {"deleted": ids[:2], "missing": [9]}
    assert list(aam.groups) == ids[2:]


def test_permissions(emulator, aam):
    group_id = aam.add_group("A", permissions=[READ]).group_id

    assert execute(AdobeListGroupPermissionsOperator(task_id="t", group_id=group_id)) == [READ]
    assert execute(
        AdobeSetGroupPermissionsOperator(task_id="t", group_id=group_id, permissions=[WRITE, OTHER])
    ) == [OTHER, WRITE]
    emulator.journal.clear()
    with pytest.raises(AirflowFailException, match="allow_empty=True"):
        execute(AdobeSetGroupPermissionsOperator(task_id="t", group_id=group_id, permissions=[]))
    with pytest.raises(AirflowFailException, match=r"permissions.*VIEW_TAGS is a wildcard"):
        execute(
            AdobeSetGroupPermissionsOperator(
                task_id="t", group_id=group_id, permissions=[{**READ, "permissions": ["VIEW_TAGS"]}]
            )
        )
    assert emulator.journal.entries == []
    assert (
        execute(
            AdobeSetGroupPermissionsOperator(task_id="t", group_id=group_id, permissions=[], allow_empty=True)
        )
        == []
    )


@pytest.mark.parametrize(
    "operator",
    [
        lambda: AdobeCreateGroupOperator(task_id="t", name=" "),
        lambda: AdobeCreateGroupOperator(task_id="t", name="A", if_exists="maybe"),
        lambda: AdobeCreateGroupOperator(task_id="t", name="A", description=7),
        lambda: AdobeUpdateGroupOperator(task_id="t", group_id=1, name="A", description=["x"]),
        lambda: AdobeUpdateGroupOperator(task_id="t", group_id="x", name="A", description=None),
        lambda: AdobeUpdateGroupOperator(task_id="t", group_id=1, name="", description=None),
        lambda: AdobeGetGroupOperator(task_id="t", group_id="../1"),
        lambda: AdobeDeleteGroupOperator(task_id="t", group_id=0),
        lambda: AdobeBulkDeleteGroupsOperator(task_id="t", group_ids=[]),
        lambda: AdobeBulkDeleteGroupsOperator(task_id="t", group_ids="12"),
        lambda: AdobeBulkDeleteGroupsOperator(task_id="t", group_ids=[1], method="PATCH"),
        lambda: AdobeListGroupPermissionsOperator(task_id="t", group_id=None),
        lambda: AdobeSetGroupPermissionsOperator(task_id="t", group_id="x", permissions=[READ]),
        lambda: AdobeListGroupsOperator(task_id="t", name_pattern="("),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="really"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="check", on_drift="cry"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="apply", prune=True),
        lambda: AdobeSyncGroupsOperator(
            task_id="t", desired={"groups": []}, mode="apply", managed_groups="("
        ),
        lambda: AdobeSyncGroupsOperator(
            task_id="t", desired={"groups": []}, mode="apply", managed_groups=["A"]
        ),
        lambda: AdobeSyncGroupsOperator(
            task_id="t", desired={"groups": []}, mode="apply", prune="no", managed_groups=".*"
        ),
        lambda: AdobeSyncGroupsOperator(
            task_id="t", desired={"groups": []}, mode="apply", require_self="yes"
        ),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="apply", max_deletes=-1),
        lambda: AdobeSyncGroupsOperator(
            task_id="t", desired={"groups": []}, mode="apply", max_delete_ratio=float("nan")
        ),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired={"groups": []}, mode="apply", concurrency=0),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired=None, mode="apply"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired="{'groups': []}", mode="apply"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired="/nowhere/groups.yaml", mode="apply"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired="/", mode="apply"),
        lambda: AdobeSyncGroupsOperator(task_id="t", desired="nothing://known/groups.yaml", mode="apply"),
        lambda: AdobeApplyGroupsPlanOperator(task_id="t", plan={}),
        lambda: AdobeApplyGroupsPlanOperator(task_id="t", plan=None),
    ],
)
def test_bad_arguments_fail_at_once_without_any_request(emulator, operator):
    # What no template can change is refused when the Dag is parsed.
    with pytest.raises((AirflowFailException, AdobeConfigurationError), match="What to do"):
        execute(operator())

    assert emulator.journal.entries == []


@pytest.mark.parametrize("wrong", [None, [7]])
def test_a_value_of_no_kind_is_told_once_and_under_its_name(emulator, wrong):
    operator = AdobeGetGroupOperator(task_id="t", group_id="{{ anything }}")
    operator.group_id = wrong
    said = "argument 'group_id' is .*: should be a valid integer or a valid string.$"
    with pytest.raises(AirflowFailException, match=rf"(?m)^AdobeGetGroupOperator: {said}"):
        operator.execute({})
    assert emulator.journal.entries == []


def test_a_mode_must_be_said():
    with pytest.raises(Exception, match="mode"):
        AdobeSyncGroupsOperator(task_id="t", desired={"groups": []})  # type: ignore[call-arg]


BAD_FILES = {
    "duplicate names": b"groups:\n  - name: A\n  - name: A\n",
    "unknown permission": (
        b"groups:\n  - name: A\n    permissions: [{objectType: TRAIT, objectId: 1, permissions: [FLY]}]\n"
    ),
    "unknown type": (
        b"groups:\n  - name: A\n    permissions: [{objectType: KITE, objectId: 1, permissions: [READ]}]\n"
    ),
    "string ids": (
        b"groups:\n  - name: A\n    permissions: [{objectType: TRAIT, objectId: '1', permissions: [READ]}]\n"
    ),
    "wildcards as permissions": b"groups:\n  - name: A\n"
    b"    permissions:\n      - {objectType: TRAIT, objectId: 1, permissions: [VIEW_TAGS]}\n",
    "tabs": b"groups:\n\t- name: A\n",
    "anchor bomb": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (new, new, b",".join([b"*%c" % old] * 10))
        for old, new in zip(b"abcdefgh", b"bcdefghi", strict=True)
    ),
    "50 MB": b"groups:\n" + b"# " + b"x" * 50_000_000,
    "not UTF-8": b"groups:\n  - name: M\xfcller\n",
    "nested": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_desired_file_causes_no_request(emulator, tmp_path: Path, name):
    file = tmp_path / "groups.yaml"
    file.write_bytes(BAD_FILES[name])

    with pytest.raises(AirflowFailException) as caught:
        sync(str(file))

    assert f"{file}:" in str(caught.value) or f"{file} is larger than 10 MB" in str(caught.value)
    assert emulator.journal.entries == []


# -- sync

DESIRED = """\
groups:
  - name: EMEA Analysts
    description: read only, EMEA
    permissions:
      - {objectType: TRAIT, objectId: 1, permissions: [READ]}
  - name: R&D
    previously: [Research]
    permissions:
      - {objectType: SEGMENT, objectId: 2, permissions: [READ, WRITE]}
    wildcards: [VIEW_TAGS]
"""


def test_groups_as_text_are_to_be_parsed_upstream():
    with pytest.raises(
        AirflowFailException, match=r"Let the upstream task parse it \(json.loads, yaml.safe_load\)"
    ):
        sync("groups:\n- name: A\n")


def special_files(tmp_path: Path) -> Iterator[str]:
    """A file of each kind that may never end, or that nobody may ever write to."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        yield from (str(tmp_path / name) for name in ("fifo", "link", "socket"))
    yield "/dev/zero"
    reads, writes_to = os.pipe()
    yield f"/dev/fd/{reads}"
    os.close(reads)
    os.close(writes_to)


@pytest.mark.timeout(60)
def test_a_pipe_a_socket_and_a_device_are_refused_before_they_are_opened(emulator, tmp_path: Path):
    for path in special_files(tmp_path):
        for desired in (path, f"file://{path}"):
            with pytest.raises(
                AirflowFailException, match=r"cannot be read: it is a (pipe|socket|device), not a file"
            ):
                sync(desired)
    assert emulator.journal.entries == []


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "groups.yaml"
    path.write_text(DESIRED)
    return str(path)


@pytest.fixture
def world(aam: Any) -> Any:
    """A group to rename, one to delete, one that nobody manages."""
    user = aam.add_user("ann")
    aam.add_group("Research", "old", permissions=[OTHER], users=[user.user_id], wildcards=["VIEW_TAGS"])
    aam.add_group("EMEA Old")
    aam.add_group("Admins", "do not touch", permissions=[WRITE], users=[user.user_id])
    return aam


def test_apply_makes_it_true_and_the_second_run_writes_nothing(emulator, world, file, caplog, capsys):
    caplog.set_level("INFO")
    admins = json.dumps(world.snapshot()["groups"][2])

    result = sync(file, prune=True, managed_groups="EMEA.*", max_delete_ratio=0.5)

    groups = by_name(world)
    assert set(groups) == {"EMEA Analysts", "R&D", "Admins"}
    assert groups["EMEA Analysts"].permissions == [READ]
    assert groups["R&D"].permissions == [
        {"objectType": "SEGMENT", "objectId": 2, "permissions": ["READ", "WRITE"]}
    ]
    assert groups["R&D"].group_id == 1002
    assert world.members_of(1002) == [1001]
    assert (
        json.dumps(next(group for group in world.snapshot()["groups"] if group["name"] == "Admins")) == admins
    )
    assert result["counts"] == {
        "create": 1,
        "rename": 1,
        "update": 0,
        "set_permissions": 2,
        "delete": 1,
        "unchanged": 0,
        "unmanaged": 1,
        "findings": 0,
    }
    assert (result["mode"], result["dry_run"], result["written"]) == ("apply", False, 5)
    assert {entry["outcome"] for entry in result["groups"]} == {"applied"}
    assert all(entry["request_id"] for entry in result["groups"])
    assert all(guard["passed"] for guard in result["guards"])
    # Airflow 3 logs to standard output here, Airflow 2 to logging.
    logged = caplog.text + capsys.readouterr().out
    for line in (
        "+ create           EMEA Analysts",
        "~ rename           Research -> R&D",
        "- delete           EMEA Old",
        "applied: create",
    ):
        assert line in logged
    # Each kind has its turn; within a kind, groups do not wait for each other.
    written = writes(emulator)
    assert [*written[:2], *sorted(written[2:4]), *written[4:]] == [
        ("POST", "/groups/"),
        ("PUT", "/groups/1002"),
        ("PUT", "/groups/1002/permissions/"),
        ("PUT", f"/groups/{groups['EMEA Analysts'].group_id}/permissions/"),
        ("DELETE", "/groups/1003"),
    ]

    emulator.journal.clear()
    again = sync(file, prune=True, managed_groups="EMEA.*")

    assert emulator.journal.writes() == []
    assert (again["written"], again["groups"], again["drift"], again["counts"]["unchanged"]) == (
        0,
        [],
        False,
        2,
    )


def test_a_value_from_upstream_and_a_mapping_do_the_same(emulator, aam):
    sync({"groups": [{"name": "A", "permissions": [READ]}]})

    assert by_name(aam)["A"].permissions == [READ]


def test_the_number_of_requests_is_the_least_possible(emulator, world, file):
    for number in range(5):
        world.add_group(f"unmanaged {number}", permissions=[READ])
    sync(file, prune=True, managed_groups="EMEA.*", max_delete_ratio=0.5)

    requests = [(entry.method, entry.path) for entry in emulator.journal.entries if "/groups" in entry.path]
    lists = [entry for entry in requests if entry == ("GET", "/api/v1/groups/")]
    reads = [entry for entry in requests if entry[0] == "GET" and entry[1].endswith("/permissions")]
    # To plan: the list and one read per existing group that declares permissions, or would be deleted. Right
    # before the writes: the list before the first creation, one read per replaced collection, two per
    # deletion, and for an update the group, and its permissions before and after. To verify: the list and one
    # read per replaced collection.
    singles = [entry for entry in requests if entry[0] == "GET" and entry not in [*lists, *reads]]
    assert (len(lists), len(reads), len(emulator.journal.writes())) == (1 + 1 + 1, 2 + 2 + 1 + 2 + 2, 5)
    assert len(singles) == 2
    # Asked once, because something is taken away.
    assert len(emulator.journal.find(path="/users/self")) == 1
    emulator.journal.clear()
    sync(file)
    assert len(emulator.journal.find(path="/api/v1")) == 1 + 2


def test_plan_and_check_write_nothing(emulator, world, file):
    shown = sync(file, "plan")
    assert (shown["mode"], shown["dry_run"], shown["drift"], shown["written"]) == ("plan", True, True, 0)
    assert [entry["outcome"] for entry in shown["groups"]] == ["planned"] * 4
    with pytest.raises(AirflowFailException, match="drift: 4 changes would be made"):
        sync(file, "check")
    with pytest.raises(AirflowSkipException, match="drift"):
        sync(file, "check", on_drift="skip")
    assert sync(file, "check", on_drift="succeed")["drift"] is True
    assert emulator.journal.writes() == []

    sync(file)
    assert sync(file, "check")["drift"] is False
    by_name(world)["R&D"].wildcards = []
    with pytest.raises(AirflowFailException, match="1 difference can only be reported"):
        sync(file, "check")


@pytest.mark.parametrize("escaping", ["off", "unless_header", "always"])
def test_escaped_names_cause_no_drift(emulator, aam, escaping):
    emulator.switches["group_html_escaping"] = escaping
    desired = {"groups": [{"name": "R&D <all>", "description": 'say "A & B"', "permissions": [READ]}]}
    sync(desired)
    emulator.journal.clear()

    assert sync(desired)["drift"] is False
    assert emulator.journal.writes() == []


@pytest.mark.parametrize("shape", ["array", "envelope"])
def test_sync_reads_either_shape(emulator, aam, shape):
    emulator.switches["group_list_shape"] = shape
    for number in range(25):
        aam.add_group(f"g{number}")

    sync({"groups": [{"name": f"g{number}"} for number in range(26)]})

    assert len(by_name(aam)) == 26


# -- guards: each trips, nothing is written, no retry, and the parameter is named

GUARDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "max_deletes=2": (
        {"groups": []},
        {"max_deletes": 1, "max_delete_ratio": 1.0, "allow_empty_desired": True, "managed_groups": "x.*"},
    ),
    "max_delete_ratio=1.00": ({"groups": []}, {"allow_empty_desired": True, "managed_groups": "x.*"}),
    "max_permission_removal_ratio=0.50": ({"groups": [{"name": "rich", "permissions": [READ]}]}, {}),
    "allow_empty=True": (
        {"groups": [{"name": "rich", "permissions": []}]},
        {"max_permission_removal_ratio": 1.0},
    ),
    "allow_empty_desired=True": ({"groups": []}, {"managed_groups": "nothing"}),
    "allow_non_empty_delete=True": (
        {"groups": [{"name": "rich"}]},
        {"managed_groups": "inhabited", "max_delete_ratio": 1.0},
    ),
    "require_self=False": (
        {"groups": [{"name": "rich"}]},
        {"managed_groups": "own", "max_delete_ratio": 1.0, "allow_non_empty_delete": True},
    ),
    "protected=": ({"groups": [{"name": "new name", "previously": ["rich"]}]}, {"protected": ["rich"]}),
}


@pytest.mark.parametrize("parameter", GUARDS)
@pytest.mark.parametrize("run", [sync, planned])
def test_a_tripped_guard_writes_nothing_and_names_what_would_allow_it(emulator, aam, run, parameter):
    me = aam.add_user("emulator-client")
    ann = aam.add_user("ann")
    aam.add_group("x1")
    aam.add_group("x2")
    aam.add_group("rich", permissions=[READ, OTHER])
    aam.add_group("inhabited", users=[ann.user_id])
    aam.add_group("own", users=[me.user_id])
    desired, more = GUARDS[parameter]

    with pytest.raises(AirflowFailException) as caught:
        run(desired, prune="managed_groups" in more, **more)

    assert "1 guard(s) stopped the plan" in str(caught.value)
    assert f"allowed by {parameter}" in str(caught.value)
    assert emulator.journal.writes() == []


# -- what goes wrong while applying


def test_a_failed_creation_blocks_deletions_but_not_the_rest_and_a_retry_converges(emulator, world, file):
    emulator.faults.add(method="POST", path="/groups/$", times=1, status=500)
    options = {"prune": True, "managed_groups": "EMEA.*", "max_delete_ratio": 0.5}

    with pytest.raises(ApplyError) as caught:
        sync(file, **options)

    assert caught.value.transient
    assert [result.outcome for result in caught.value.results] == [
        "failed",
        "applied",
        "skipped",
        "applied",
        "skipped",
    ]
    assert "a group could not be created, so none is deleted" in str(caught.value)
    assert set(by_name(world)) == {"R&D", "EMEA Old", "Admins"}
    sync(file, **options)
    assert set(by_name(world)) == {"R&D", "EMEA Analysts", "Admins"}


def test_a_lost_answer_to_a_creation_is_found_by_reading_in_the_same_try(emulator, world, file):
    emulator.faults.add(method="POST", path="/groups/$", times=1, phase="after", drop=True)

    result = sync(file)

    assert {entry["outcome"] for entry in result["groups"]} == {"applied"}
    assert by_name(world)["EMEA Analysts"].permissions == [READ]
    assert len(emulator.journal.find("POST", "/groups/")) == 1


def test_a_conflict_in_the_middle_of_deletions_does_not_stop_the_others(emulator, aam):
    ids = [aam.add_group(f"x{number}").group_id for number in range(3)]
    aam.groups[ids[1]].conflicted = True

    with pytest.raises(AirflowFailException, match=r"1 of 3 changes were not made(.|\n)*delete 'x1'.*409"):
        sync({"groups": []}, prune=True, managed_groups="x.*", max_delete_ratio=1.0, allow_empty_desired=True)

    assert list(aam.groups) == ids[1:2]


def test_an_object_out_of_reach_fails_without_a_retry(emulator, world, file):
    world.unreachable = {("TRAIT", 1)}

    with pytest.raises(AirflowFailException, match="no access to TRAIT 1"):
        sync(file)

    assert by_name(world)["R&D"].permissions != [OTHER], "the other group was not held back"


def test_members_that_move_on_an_update_stop_everything(emulator, world, file):
    emulator.switches["group_wipe_on_put"] = True

    with pytest.raises(AirflowFailException, match=r"membershipCount 1 -> 0"):
        sync(file)

    # Nothing after the update was written, but for the permissions that were lost by it.
    assert [method for method, _ in writes(emulator)] == ["POST", "PUT", "PUT"]
    assert by_name(world)["R&D"].permissions == [OTHER]


def hold_and_change(emulator: Any, method: str, path: str, change: Callable[[], Any]) -> None:
    """When such a request arrives, let somebody else change the world first."""
    import threading

    emulator.faults.add(method=method, path=path, hold=True, times=1)

    def meddle() -> None:
        emulator.holds.wait(1, 30)
        change()
        emulator.holds.release("continue")

    threading.Thread(target=meddle, daemon=True).start()


def test_permissions_that_moved_since_they_were_read_stop_the_run(emulator, world, file):
    research = next(group for group in world.groups.values() if group.name == "Research")
    # The rename comes after the plan and before the permissions.
    hold_and_change(
        emulator, "PUT", f"/groups/{research.group_id}$", lambda: research.permissions.append(WRITE)
    )

    with pytest.raises(StalePlanError, match="permissions have changed since they were read") as caught:
        sync(file)

    assert caught.value.transient
    assert WRITE in research.permissions
    sync(file, max_permission_removal_ratio=1.0)
    assert sync(file)["written"] == 0


def test_a_member_who_joins_before_the_deletion_saves_the_group(emulator, world, file):
    old = next(group for group in world.groups.values() if group.name == "EMEA Old")
    hold_and_change(emulator, "POST", "/groups/$", lambda: world.join(1001, old.group_id))

    with pytest.raises(StalePlanError, match="has 1 member now, not 0"):
        sync(file, prune=True, managed_groups="EMEA.*", max_delete_ratio=0.5)

    assert "EMEA Old" in by_name(world)


def test_changes_that_do_not_come_true_are_noticed(emulator, aam):
    answer = {
        "groupId": 77,
        "pid": 1,
        "name": "A",
        "description": None,
        "membershipCount": 0,
        "wildcards": [],
        "users": [],
    }
    emulator.faults.add(method="POST", path="/groups/$", status=201, body=answer)

    with pytest.raises(ApplyError, match="Adobe accepted the changes, but they are not true") as caught:
        sync({"groups": [{"name": "A"}]})
    assert caught.value.transient


def test_a_429_pauses_every_thread(emulator, aam):
    for number in range(30):
        aam.add_group(f"g{number}", permissions=[READ])
    emulator.faults.add(method="GET", path="/permissions$", nth=3, status=429, headers={"Retry-After": "1"})

    sync({"groups": [{"name": f"g{number}", "permissions": [READ]} for number in range(30)]}, concurrency=4)

    entries = emulator.journal.find("GET", "/permissions")
    refused = next(index for index, entry in enumerate(entries) if entry.status == 429)
    # Those under way at that moment may finish; nobody begins another within the pause.
    later = [entry for entry in entries[refused + 1 :] if entry.time - entries[refused].time > 0.1]
    assert later[0].time - entries[refused].time >= 0.9
    assert len(entries) == 31


def test_reads_run_at_the_same_time_but_not_more_than_allowed(emulator, aam):
    for number in range(16):
        aam.add_group(f"g{number}", permissions=[READ])
    emulator.faults.add(method="GET", path="/permissions$", hold=True)
    seen: list[int] = []

    def watch() -> None:
        for _ in range(4):
            seen.append(len(emulator.holds.wait(4, 30)))
            emulator.faults.clear() if len(seen) == 4 else None
            emulator.holds.release("continue")
            _wait_until(lambda: len(emulator.holds.as_list()) in (0, 4))

    import threading

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    sync({"groups": [{"name": f"g{number}", "permissions": [READ]} for number in range(16)]}, concurrency=4)
    watcher.join(30)

    assert seen == [4, 4, 4, 4]


def _wait_until(condition: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_server_error_while_reading_is_retried_by_airflow(emulator, aam, adobe_connection):
    adobe_connection(max_attempts=1)
    emulator.faults.add(method="GET", path="/groups", status=500)

    with pytest.raises(AdobeServerError):
        sync({"groups": []})


# -- plan, approve, apply


def test_exactly_the_plan_is_applied(emulator, world, file):
    plan = planned(file)

    assert emulator.journal.writes() == []
    assert plan["counts"]["create"] == 1
    assert "EMEA Analysts" in plan["markdown"]
    text = json.dumps(plan)
    for secret in ("emulator-client-secret", *emulator.ims.tokens):
        assert secret not in text
    result = applied(plan["plan"])
    assert (result["written"], result["mode"]) == (4, "apply")
    assert by_name(world)["EMEA Analysts"].permissions == [READ]
    assert sync(file)["written"] == 0


def test_the_whole_result_of_the_planning_task_is_taken_too(world, file):
    assert applied(planned(file))["written"] == 4


def test_nothing_to_change_skips_the_approval(emulator, world, file):
    sync(file)
    with pytest.raises(AirflowSkipException, match="nothing to change"):
        planned(file)
    plan = planned(file, skip_if_unchanged=False)
    assert plan["changes"] == 0
    assert "Nothing to change" in plan["markdown"]
    assert applied(plan["plan"])["written"] == 0


@pytest.mark.parametrize(
    "tamper",
    [
        lambda plan: plan["content"]["plan"]["changes"][0]["after"].update(name="Admins 2"),
        lambda plan: plan["content"]["plan"]["changes"].pop(),
        lambda plan: plan["content"]["plan"].update(target="https://elsewhere"),
        lambda plan: plan["content"].update(made_at="2999-01-01T00:00:00Z"),
        lambda plan: plan.update(signature="0" * 64),
    ],
)
def test_a_tampered_plan_is_refused(emulator, world, file, tamper):
    plan = planned(file)
    tamper(plan["plan"])
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="altered, or made with another credential"):
        applied(plan["plan"])
    assert emulator.journal.entries == []


def test_a_plan_for_another_place_is_refused(emulator, world, file, adobe_connection):
    plan = planned(file)
    adobe_connection(audience_manager_prefix="/v1")
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match="the plan was made for"):
        applied(plan["plan"])
    assert emulator.journal.entries == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda aam, groups: aam.add_group("EMEA Analysts", "another"),
            "exist now, and differ from the plan",
        ),
        (
            lambda aam, groups: setattr(groups["Research"], "name", "Renamed by hand"),
            "name or description is now",
        ),
        (lambda aam, groups: aam.drop_group(groups["Research"].group_id), "no longer exists"),
        (
            lambda aam, groups: groups["Research"].permissions.append(WRITE),
            "permissions have changed since they were read",
        ),
        (lambda aam, groups: aam.join(1001, groups["EMEA Old"].group_id), "has 1 member now, not 0"),
        (
            lambda aam, groups: setattr(groups["EMEA Old"], "name", "EMEA Needed"),
            "is now named 'EMEA Needed'",
        ),
    ],
)
def test_a_stale_plan_is_refused_as_a_whole(emulator, world, file, change, reason):
    plan = planned(file, prune=True, managed_groups="EMEA.*", max_delete_ratio=0.5)
    change(world, by_name(world))
    emulator.journal.clear()

    with pytest.raises(AirflowFailException, match=r"the plan is stale, nothing was changed") as caught:
        applied(plan["plan"])

    assert reason in str(caught.value)
    assert emulator.journal.writes() == []


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_retry_of_the_apply_goes_on_where_it_was(emulator, world, file, number, phase, adobe_connection):
    """The k-th write is answered with an error, before or after it was carried out, and nothing is repeated
    within the try.
    """
    adobe_connection(max_attempts=1)
    plan = planned(file, prune=True, managed_groups="EMEA.*", max_delete_ratio=0.5)
    _fail_write(emulator, number, phase)

    # A creation or deletion whose answer is lost is found again within the try; everything else fails it.
    with contextlib.suppress(ApplyError, AdobeServerError):
        applied(plan["plan"])
    emulator.faults.clear()
    result = applied(plan["plan"])

    assert {entry["outcome"] for entry in result["groups"]} <= {"applied", "already"}
    assert set(by_name(world)) == {"EMEA Analysts", "R&D", "Admins"}
    assert by_name(world)["EMEA Analysts"].permissions == [READ]
    assert sync(file, prune=True, managed_groups="EMEA.*")["written"] == 0


def _fail_write(emulator: Any, number: int, phase: str) -> None:
    methods = ["POST", "PUT", "PUT", "PUT", "DELETE"]
    nth = methods[:number].count(methods[number - 1])
    emulator.faults.add(method=methods[number - 1], path="/groups/", nth=nth, phase=phase, status=503)


# -- as DAGs


def test_plan_and_apply_as_a_dag(run_dag, xcom, emulator, world, file):
    with DAG("aam_plan_apply", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")) as dag:
        plan = AdobePlanGroupsOperator(task_id="plan", desired=file)
        AdobeApplyGroupsPlanOperator(task_id="apply", plan=plan.output)

    run = run_dag(dag)

    assert run.state == "success"
    assert xcom(run, "apply")["written"] == 4
    assert "EMEA Analysts" in by_name(world)


def test_a_value_from_upstream_as_a_dag(run_dag, xcom, emulator, aam):
    from airflow.providers.common.compat.sdk import task

    with DAG("aam_upstream", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")) as dag:

        @task
        def declare() -> dict[str, Any]:
            return {"groups": [{"name": "A", "permissions": [READ]}]}

        AdobeSyncGroupsOperator(task_id="sync", desired=declare(), mode="apply")

    run = run_dag(dag)

    assert run.state == "success"
    assert xcom(run, "sync")["counts"]["create"] == 1
    assert by_name(aam)["A"].permissions == [READ]


def test_a_tripped_guard_is_not_retried(run_dag, emulator, aam):
    aam.add_group("x")
    with DAG("aam_guard", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")) as dag:
        AdobeSyncGroupsOperator(
            task_id="sync",
            desired={"groups": []},
            mode="apply",
            prune=True,
            managed_groups=".*",
            retries=3,
            retry_delay=0,
        )

    run = run_dag(dag)

    assert run.state == "failed"
    assert run.get_task_instance("sync").try_number == 1
    assert list(aam.groups)
    lists = [entry for entry in emulator.journal.find("GET", "/groups/") if entry.path.endswith("/groups/")]
    assert len(lists) == 1
