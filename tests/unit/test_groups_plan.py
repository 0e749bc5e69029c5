# SPDX-License-Identifier: Apache-2.0
"""Matching, planning, guards, seals and reports, case by case."""

from __future__ import annotations

import html
import json
import math
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission, User
from airflow_provider_adobe_audiences.errors import AmbiguousGroupsError, GuardError, PlanRefusedError
from airflow_provider_adobe_audiences.groups import approval, report
from airflow_provider_adobe_audiences.groups.changes import Plan
from airflow_provider_adobe_audiences.groups.guards import check, guarded
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.groups.live import Live, Scope
from airflow_provider_adobe_audiences.groups.plan import make, permissions_to_read
from airflow_provider_adobe_audiences.groups.progress import progress
from airflow_provider_adobe_audiences.groups.spec import load_value
from tests.unit.groups_model import group

READ = Permission("TRAIT", 1, ("READ",))
WRITE = Permission("TRAIT", 1, ("READ", "WRITE"))
OTHER = Permission("SEGMENT", 2, ("READ",))


def declare(*groups: dict[str, Any]) -> Any:
    return load_value({"groups": list(groups)})


def rows(*permissions: Permission) -> list[dict[str, Any]]:
    return [permission.as_json() for permission in permissions]


def plan(desired: Any, live: Live, scope: Scope | None = None, limits: Limits | None = None) -> Plan:
    return guarded(make(desired, live, target="https://aam", scope=scope), limits or Limits())


def kinds(made: Plan) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in made.changes]


def test_the_order_is_create_then_update_then_permissions_then_delete():
    live = Live((group(1, "Old"), group(2, "B", "x"), group(3, "Gone")), {2: (READ,)})
    desired = declare(
        {"name": "B", "description": "y", "permissions": rows(WRITE)},
        {"name": "New", "permissions": rows(READ)},
        {"name": "Renamed", "previously": ["Old"]},
    )

    made = plan(desired, live, Scope(prune=True, managed_groups=".*"))

    assert kinds(made) == [
        ("create", "New"),
        ("update", "B"),
        ("rename", "Renamed"),
        ("set_permissions", "B"),
        ("set_permissions", "New"),
        ("delete", "Gone"),
    ]
    assert made.counts() == {
        "create": 1,
        "rename": 1,
        "update": 1,
        "set_permissions": 2,
        "delete": 1,
        "unchanged": 0,
        "unmanaged": 0,
        "findings": 0,
    }


def test_what_is_left_out_is_not_managed():
    live = Live((group(1, "A", "as it is", users=(7,), wildcards=("VIEW_TAGS",)), group(2, "not declared")))

    made = plan(declare({"name": "A"}), live)

    assert (made.changes, made.findings, made.unchanged, made.unmanaged) == ((), (), 1, 1)
    assert permissions_to_read(declare({"name": "A"}), live.groups) == []


def test_null_clears_a_description_and_blank_is_the_same_as_none():
    assert kinds(plan(declare({"name": "A", "description": None}), Live((group(1, "A", "x"),)))) == [
        ("update", "A")
    ]
    assert kinds(plan(declare({"name": "A", "description": None}), Live((group(1, "A", ""),)))) == []
    assert kinds(plan(declare({"name": "A", "description": " "}), Live((group(1, "A", None),)))) == []


def test_a_rename_keeps_a_description_that_is_not_managed():
    (change,) = plan(
        declare({"name": "B", "previously": ["A"]}), Live((group(1, "A", " R&amp;D\n"),))
    ).changes

    assert (change.kind, change.after.name, change.after.description) == ("rename", "B", " R&amp;D\n")


def test_the_present_name_wins_over_a_former_one():
    live = Live((group(1, "A"), group(2, "B")))

    made = plan(declare({"name": "B", "previously": ["A"]}), live, Scope(prune=True, managed_groups=".*"))

    # A is not declared and in the scope, but deleting what was renamed once would turn a rename into a loss.
    assert made.changes == ()
    assert [(finding.kind, finding.name) for finding in made.findings] == [("kept", "A")]


def test_a_pin_finds_a_group_whatever_its_name():
    (change,) = plan(declare({"name": "B", "groupId": 1}), Live((group(1, "something else"),))).changes

    assert (change.kind, change.group_id) == ("rename", 1)


def test_a_pin_chooses_between_twins():
    made = plan(
        declare({"name": "A", "groupId": 2}),
        Live((group(1, "A"), group(2, "A"))),
        Scope(prune=True, managed_groups=".*"),
    )

    assert made.changes == ()
    assert [(finding.kind, finding.group_id) for finding in made.findings] == [("name", 2), ("kept", 1)]


@pytest.mark.parametrize(
    ("desired", "words"),
    [
        (declare({"name": "T"}), ["'T' can be any of 2 live groups", "(groupId 1)", "(groupId 2)"]),
        (declare({"name": "N", "previously": ["T"]}), ["'N' can be any of 2"]),
        (declare({"name": "N", "previously": ["A", "B"]}), ["'N' can be any of 2"]),
        (declare({"name": "N", "groupId": 9}), ["groupId 9, which does not exist"]),
        (
            declare({"name": "B", "groupId": 3}),
            ["groupId 3 cannot be renamed to 'B': groupId 4 has that name"],
        ),
        (
            declare({"name": "A"}, {"name": "N", "groupId": 3}),
            ["'A' and 'N' both mean the live group 'A' (groupId 3)"],
        ),
        (
            declare({"name": "T"}, {"name": "N", "groupId": 9}),
            ["'T' can be any", "groupId 9, which does not exist"],
        ),
    ],
)
def test_what_is_ambiguous_stops_the_plan_and_all_of_it_is_said(desired, words):
    live = Live((group(1, "T"), group(2, " T "), group(3, "A"), group(4, "B")))

    with pytest.raises(AmbiguousGroupsError) as caught:
        plan(desired, live)

    for word in words:
        assert word in str(caught.value)
    assert not caught.value.transient


def test_twins_that_nobody_declares_do_no_harm():
    assert plan(declare({"name": "A"}), Live((group(1, "T"), group(2, "T"), group(3, "A")))).changes == ()


def test_escaped_names_are_no_drift():
    assert (
        plan(
            declare({"name": "R&D", "description": "a < b"}), Live((group(1, "R&amp;D", "a &lt; b"),))
        ).changes
        == ()
    )


def test_wildcards_and_users_are_reported_and_never_changed():
    live = Live((group(1, "A", wildcards=("VIEW_TAGS", "PTRREPORTS"), users=(1, 2)),))

    made = plan(
        declare(
            {"name": "A", "wildcards": ["VIEW_MODELS"], "users": [2, 3]},
            {"name": "N", "wildcards": ["VIEW_TAGS"]},
        ),
        live,
    )

    assert kinds(made) == [("create", "N")]
    found = {(finding.kind, finding.name): finding.message for finding in made.findings}
    assert found["wildcards", "A"] == "declared but missing: VIEW_MODELS; not declared: PTRREPORTS, VIEW_TAGS"
    assert found["users", "A"] == "declared but missing: 3; not declared: 1"
    assert "VIEW_TAGS" in found["wildcards", "N"]
    assert made.drift


def test_pruning_stays_inside_the_scope_and_spares_the_protected():
    live = Live((group(1, "EMEA a"), group(2, "EMEA b"), group(3, "APAC"), group(4, "xEMEA")))

    made = plan(
        declare({"name": "EMEA a"}), live, Scope(prune=True, managed_groups="EMEA.*", protected=["EMEA b"])
    )
    assert made.changes == ()
    assert [finding.kind for finding in made.findings] == ["kept"]

    made = plan(declare({"name": "EMEA a"}), live, Scope(prune=True, managed_groups=[2, 4]))
    assert [change.group_id for change in made.deletes] == [2, 4]

    made = plan(declare({"name": "EMEA a"}), live, Scope(managed_groups="EMEA.*"))
    assert [(finding.kind, finding.name) for finding in made.findings] == [("undeclared", "EMEA b")]
    assert made.drift


def test_a_scope_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="'prune' is True: needs argument 'managed_groups'"):
        Scope(prune=True)
    with pytest.raises(ValueError, match="not a regular expression"):
        Scope(managed_groups="(")
    for wrong in ("Admins", ["Admins", 7], None):
        with pytest.raises(ValueError, match=r"argument 'protected' is .*must be a list of names"):
            Scope(protected=wrong)
    for wrong in (7, [1, "x"], [True], {"1": 2}):
        with pytest.raises(ValueError, match=r"argument 'managed_groups' is .*must be"):
            Scope(managed_groups=wrong)
    with pytest.raises(ValueError, match="argument 'prune' is 'no': must be True or False"):
        Scope(prune="no", managed_groups=".*")


def test_ids_of_managed_groups_may_be_text_as_templates_give_it():
    made = plan(declare(), Live((group(1, "A"), group(2, "B"))), Scope(prune=True, managed_groups=["2"]))
    assert [change.group_id for change in made.deletes] == [2]


# -- guards

MANY = Live(tuple(group(number, f"g{number}") for number in range(1, 11)), {1: (WRITE, OTHER)})
ALL = Scope(prune=True, managed_groups=".*")
TEN = [{"name": f"g{number}"} for number in range(1, 11)]


@pytest.mark.parametrize(
    ("desired", "live", "scope", "limits", "allowed", "parameter"),
    [
        pytest.param(
            declare(*TEN[2:]),
            MANY,
            ALL,
            Limits(max_deletes=1),
            Limits(max_deletes=2),
            "max_deletes=2",
            id="number of deletions",
        ),
        pytest.param(
            declare(*TEN[4:]),
            MANY,
            ALL,
            Limits(),
            Limits(max_delete_ratio=0.4),
            "max_delete_ratio=0.40",
            id="share of deletions",
        ),
        pytest.param(
            declare({"name": "g1", "permissions": rows(OTHER)}),
            MANY,
            None,
            Limits(),
            Limits(max_permission_removal_ratio=0.67),
            "max_permission_removal_ratio=0.67",
            id="share of removed permissions",
        ),
        pytest.param(
            declare({"name": "g1", "permissions": []}),
            MANY,
            None,
            Limits(max_permission_removal_ratio=1.0),
            Limits(max_permission_removal_ratio=1.0, allow_empty=True),
            "allow_empty=True",
            id="emptied permissions",
        ),
        pytest.param(
            declare(),
            Live((group(1, "A"),)),
            Scope(prune=True, managed_groups="nothing"),
            Limits(),
            Limits(allow_empty_desired=True),
            "allow_empty_desired=True",
            id="empty desired state",
        ),
        pytest.param(
            declare(*TEN[:9]),
            Live((*MANY.groups[:9], group(10, "g10", users=(5,)))),
            ALL,
            Limits(),
            Limits(allow_non_empty_delete=True),
            "allow_non_empty_delete=True",
            id="deletion of groups with members",
        ),
        pytest.param(
            declare(*TEN[:9]),
            Live(MANY.groups, caller=User(1, "me", "", "", (10,), True)),
            ALL,
            Limits(),
            Limits(require_self=False),
            "require_self=False",
            id="groups of the calling user",
        ),
        pytest.param(
            declare({"name": "g1", "permissions": rows(READ, OTHER)}),
            Live(MANY.groups, MANY.permissions, User(1, "me", "", "", (1,), True)),
            None,
            Limits(max_permission_removal_ratio=0.5),
            Limits(max_permission_removal_ratio=0.5, require_self=False),
            "require_self=False",
            id="permissions of the calling user's groups",
        ),
        pytest.param(
            declare({"name": "new", "previously": ["g1"]}),
            MANY,
            None,
            Limits(protected=["g1"]),
            Limits(protected=["g2"]),
            "protected=[…] without these names",
            id="protected groups",
        ),
    ],
)
def test_each_guard_trips_and_names_what_would_allow_it(desired, live, scope, limits, allowed, parameter):
    tripped = plan(desired, live, scope, limits)

    with pytest.raises(GuardError) as caught:
        check(tripped)

    assert [guard.parameter for guard in tripped.guards if not guard.passed] == [parameter]
    assert f"(allowed by {parameter})" in str(caught.value)
    assert not caught.value.transient
    check(plan(desired, live, scope, allowed))


def test_all_tripped_guards_are_reported_at_once():
    live = Live(
        (group(1, "A", users=(1,)), group(2, "B"), group(3, "C")),
        {3: (WRITE,)},
        User(1, "me", "", "", (1,), True),
    )

    with pytest.raises(GuardError) as caught:
        check(plan(declare({"name": "C", "permissions": []}), live, ALL, Limits(max_deletes=0)))

    for parameter in (
        "max_deletes=2",
        "max_delete_ratio=0.67",
        "max_permission_removal_ratio=1.00",
        "allow_empty=True",
        "allow_non_empty_delete=True",
        "require_self=False",
    ):
        assert parameter in str(caught.value)


def test_without_live_groups_no_share_is_computed():
    made = plan(
        declare({"name": "A", "permissions": rows(READ)}),
        Live(()),
        ALL,
        Limits(max_deletes=0, max_delete_ratio=0),
    )

    check(made)
    assert kinds(made) == [("create", "A"), ("set_permissions", "A")]


def test_clearing_what_is_clear_needs_no_permission():
    check(plan(declare({"name": "A", "permissions": []}), Live((group(1, "A"),), {1: ()})))


@pytest.mark.parametrize(
    "wrong",
    [{"max_deletes": -1}, {"max_deletes": 1.5}, {"max_deletes": True}]
    + [
        {name: value}
        for name in ("max_delete_ratio", "max_permission_removal_ratio")
        for value in (-0.1, 1.1, math.nan, "0.5", True)
    ]
    + [
        {name: "False"}
        for name in ("allow_empty", "allow_empty_desired", "allow_non_empty_delete", "require_self")
    ],
)
def test_limits_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


# -- signatures

SOME = plan(
    declare(
        {"name": "New", "description": "d", "permissions": rows(READ)}, {"name": "B", "previously": ["A"]}
    ),
    Live((group(1, "A"),)),
)
ORIGIN = approval.Origin(
    dag_id="dag",
    run_id="run",
    conn_id="adobe_default",
    user={"authentication": "oauth_server_to_server", "username": None, "client_id": "client"},
)
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SIGNED = approval.Signed(
    plan=SOME,
    origin=ORIGIN,
    task_id="plan",
    made_at=NOW,
    scope={"prune": False, "managed_groups": None, "protected": []},
    markdown=approval.digest_of(report.markdown(SOME)),
)


def signed_plan() -> Any:
    return json.loads(json.dumps(approval.sign(SIGNED, "key")))


def test_a_plan_survives_json_and_is_recognised():
    assert approval.verify(signed_plan(), "key") == SIGNED


def test_a_large_set_of_permissions_stays_small_in_a_signed_plan():
    many = [Permission("TRAIT", number, ("READ", "WRITE")) for number in range(10_000, 15_000)]
    made = plan(declare({"name": "A", "permissions": rows(*many)}), Live((group(1, "A"),), {1: ()}))

    text = json.dumps(approval.sign(SIGNED.model_copy(update={"plan": made}), "key"))

    assert len(text) < 50_000
    assert approval.verify(json.loads(text), "key").plan == made


def _change_name(signed: dict[str, Any]) -> None:
    signed["content"]["plan"]["changes"][0]["after"]["name"] = "Admins"


def _add_grant(signed: dict[str, Any]) -> None:
    signed["content"]["plan"]["changes"][-1]["after"][0][1].append("WRITE")


def _silence_guard(signed: dict[str, Any]) -> None:
    guard = signed["content"]["plan"]["guards"][0]
    guard["passed"] = not guard["passed"]


def _other_run(signed: dict[str, Any]) -> None:
    signed["content"]["origin"]["run_id"] = "another"


def _younger(signed: dict[str, Any]) -> None:
    signed["content"]["made_at"] = "2999-01-01T00:00:00Z"


def _other_text(signed: dict[str, Any]) -> None:
    signed["content"]["markdown"] = approval.digest_of("harmless")


@pytest.mark.parametrize(
    "tamper", [_change_name, _add_grant, _silence_guard, _other_run, _younger, _other_text]
)
def test_a_tampered_plan_is_refused(tamper):
    signed = signed_plan()
    tamper(signed)

    with pytest.raises(PlanRefusedError, match="altered, or made with another credential"):
        approval.verify(signed, "key")


def test_a_plan_signed_anew_by_somebody_else_is_refused():
    with pytest.raises(PlanRefusedError, match="another credential"):
        approval.verify(approval.sign(SIGNED, "guessed"), "key")


@pytest.mark.parametrize("given", [None, "text", {}, {"signature": "x"}, []])
def test_what_is_no_plan_is_refused(given):
    with pytest.raises(PlanRefusedError, match="this is not a plan"):
        approval.verify(given, "key")


def test_the_key_is_not_in_the_signed_plan():
    assert "very-secret-key" not in json.dumps(approval.sign(SIGNED, "very-secret-key"))


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        ({}, None),
        ({"origin": ORIGIN.model_copy(update={"run_id": "r2"})}, "made in another run: 'run'"),
        ({"origin": ORIGIN.model_copy(update={"dag_id": "d2"})}, "made in another Dag"),
        ({"origin": ORIGIN.model_copy(update={"conn_id": "c2"})}, "made in another connection"),
        (
            {"origin": ORIGIN.model_copy(update={"user": {**ORIGIN.user, "username": "eve"}})},
            "made in another user",
        ),
        ({"target": "https://elsewhere"}, "was made for https://aam, but the connection leads to"),
        ({"now": NOW + timedelta(days=7, seconds=1)}, "older than max_age=7 days"),
        ({"now": NOW + timedelta(days=7)}, None),
        ({"markdown": "1 to create"}, "what was shown for approval is not what the plan says"),
    ],
)
def test_a_plan_is_applied_only_where_and_when_and_as_it_was_approved(here, reason):
    there = {
        "origin": ORIGIN,
        "target": "https://aam",
        "markdown": report.markdown(SOME),
        "now": NOW,
        "max_age": timedelta(days=7),
    }
    if reason is None:
        approval.check_origin(SIGNED, **{**there, **here})
        return
    with pytest.raises(PlanRefusedError, match=reason):
        approval.check_origin(SIGNED, **{**there, **here})


# -- how far a change has come


def test_progress_of_each_kind_of_change():
    made = plan(
        declare(
            {"name": "New", "permissions": rows(READ)},
            {"name": "B", "previously": ["A"], "permissions": rows(WRITE)},
        ),
        Live((group(1, "A"), group(2, "Gone", users=(3,))), {1: (READ,)}),
        ALL,
    )
    create, rename, of_new, of_b, delete = made.changes
    before = Live((group(1, "A"), group(2, "Gone", users=(3,))), {1: (READ,)})
    after = Live((group(1, "B"), group(5, "New")), {1: (WRITE,), 5: (READ,)})
    moved = Live((group(1, "C"), group(2, "Gone"), group(5, "New", "other")), {1: (OTHER,), 5: (OTHER,)})

    for change in (create, rename, of_b, of_new, delete):
        assert progress(change, before).state == "pending"
        assert progress(change, after).state == "done"
        assert progress(change, moved).state == "stale", change
        assert progress(change, moved).reason
    assert progress(of_new, after).group_id == 5
    assert progress(create, Live((group(5, "New"), group(6, "New")))).state == "stale"


# -- reports


def test_the_table_shows_every_change_finding_and_guard():
    live = Live((group(1, "Old"), group(2, "B", "x"), group(3, "Gone")), {2: (READ, OTHER)})
    desired = declare(
        {"name": "B", "description": "y", "permissions": rows(WRITE), "wildcards": ["VIEW_TAGS"]},
        {"name": "New", "description": "new one"},
        {"name": "Renamed", "previously": ["Old"]},
    )

    text = report.table(plan(desired, live, ALL))

    for line in (
        "Plan for https://aam: 1 to create, 1 to rename, 1 to update, 1 permission changes, 1 to delete, 0 "
        "unchanged, 0 not managed",
        "+ create           New",
        "description: new one",
        "~ rename           Old -> Renamed (groupId 1)",
        "description: x -> y",
        "~ set permissions  B (groupId 2)",
        "+ TRAIT 1: WRITE",
        "- SEGMENT 2: READ",
        "- delete           Gone (groupId 3), 0 members",
        "! wildcards        B (groupId 2): declared but missing: VIEW_TAGS",
        "ok      number of deletions: 1 to delete, at most 5 allowed",
        "STOPPED share of deletions",
    ):
        assert line in text
    assert "Nothing to change." in report.table(plan(declare(), Live(())))


def test_markdown_shows_what_takes_away_first_and_counts_what_it_leaves_out():
    groups = [{"name": f"New {number:03}"} for number in range(300)]
    made = plan(declare(*groups), Live((group(1, "Gone"),)), ALL)

    whole, cut = report.markdown(made), report.markdown(made, max_length=4000)

    assert whole.index("Gone") < whole.index("New 000")
    assert "New 299" in whole
    assert len(cut) <= 4000
    assert "more changes are not shown here" in cut
    assert "Gone" in cut


NASTY = [
    "a | b [x](http://evil) <img src=x> `c` **d**",
    "http://evil.example www.evil.example",
    "back\\|slash \\ | \\\\|",
    "``` fence",
    "ends with `",
    "# heading",
    "--- | ---",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_draw_in_the_markdown(name):
    markdown_it = pytest.importorskip("markdown_it")
    live = Live((group(1, name), group(2, "B", wildcards=("<b>",))))
    desired = declare({"name": "B", "description": name, "wildcards": []}, {"name": "C"})

    page = markdown_it.MarkdownIt("gfm-like").render(
        report.markdown(plan(desired, live, Scope(prune=True, managed_groups=".*")))
    )

    tags = [
        tag
        for tag in re.findall(r"<(\w+)", page)
        if tag not in ("p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li")
    ]
    assert tags == []
    assert page.count("<strong>") == 1
    assert page.count("<td>") == 3 * 3
    shown = [html.unescape(cell) for cell in re.findall(r"<code>(.*?)</code>", page)]
    if "\\" not in name:  # Backslashes before a bar are shown twice.
        assert f"{name} (groupId 1), 0 members" in shown


def test_names_stay_in_their_line_of_the_log():
    made = plan(
        declare({"name": "B"}),
        Live((group(2, "line\nbreak \x1b[31m"),)),
        Scope(prune=True, managed_groups=".*"),
    )

    assert "line\\nbreak \\x1b[31m" in report.table(made)


def test_the_report_is_small_json():
    body = report.report(SOME, mode="plan")

    assert json.loads(json.dumps(body)) == body
    assert (body["mode"], body["dry_run"], body["written"], body["drift"]) == ("plan", True, 0, True)
    assert [(entry["name"], entry["kind"], entry["outcome"]) for entry in body["groups"]] == [
        ("New", "create", "planned"),
        ("B", "rename", "planned"),
        ("New", "set_permissions", "planned"),
    ]
    assert body["groups"][1]["before"] == {"name": "A", "description": None}
    # The rows themselves would be hundreds of kilobytes: their number and some of them.
    assert body["groups"][2]["granted"] == {"count": 1, "sample": ["TRAIT 1 READ"]}
    assert body["groups"][2]["removed"] == {"count": 0, "sample": []}


def test_the_report_of_a_large_plan_is_still_small():
    many = [Permission("TRAIT", number, ("READ", "WRITE")) for number in range(5_000)][1:]
    groups = [{"name": f"g{number}", "description": "x" * 10_000} for number in range(1_000)]
    made = plan(declare({"name": "A", "permissions": rows(*many)}, *groups), Live(()))

    body = report.report(made, mode="plan")

    assert len(json.dumps(body)) < 64_000
    assert (body["counts"]["create"], len(body["groups"])) == (1_001, 100)


def test_what_grants_or_takes_away_is_shown_or_nobody_can_approve_it():
    many = [Permission("TRAIT", number, ("READ",)) for number in range(10_000, 15_000)]
    groups = [{"name": f"New {number:03}"} for number in range(300)]
    made = plan(declare({"name": "A", "permissions": rows(*many)}, *groups), Live((group(1, "A"),), {1: ()}))

    page = report.markdown(made)
    assert all(str(number) in page for number in (10_000, 12_345, 14_999))
    with pytest.raises(GuardError, match="nobody could approve all of it"):
        report.markdown(made, max_length=20_000)


def test_the_guards_are_in_the_markdown():
    made = plan(declare(), Live((group(1, "A"),)), ALL, Limits(allow_empty_desired=True))

    assert "- STOPPED `share of deletions: 1 of 1 managed group" in report.markdown(made)


def test_ten_times_the_groups_take_about_ten_times_as_long() -> None:
    """A sync of 10,000 groups once spent 12 of its 30 seconds on looking at each group for each group."""

    def steps(count: int) -> int:
        """Count the calls and lines that a plan takes: unlike seconds, they are the same in every run."""
        desired = load_value({"groups": [{"name": f"Group {n}", "permissions": []} for n in range(count)]})
        live = Live(tuple(Group(n + 1, f"Group {n}", None, 0) for n in range(count)))
        taken = 0

        def count_step(*_: object) -> object:
            nonlocal taken
            taken += 1
            return count_step

        sys.settrace(count_step)  # type: ignore[arg-type]
        try:
            permissions_to_read(desired, live.groups)
        finally:
            sys.settrace(None)
        return taken

    assert steps(1_000) < 12 * steps(100)
