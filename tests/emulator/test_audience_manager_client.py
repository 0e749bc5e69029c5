# SPDX-License-Identifier: Apache-2.0
"""Audience Manager's calls through the real transport: both list shapes, both spellings, lost answers, the
legacy grant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import audience_manager as aam
from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConflictError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeResponseError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    AmbiguousGroupsError,
    SideEffectError,
)
from airflow_provider_adobe_audiences.groups.write import create_once
from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook

TRAIT = Permission("TRAIT", 83498, ("READ", "MAP_TO_SEGMENTS"))


@pytest.fixture
def settings(adobe_connection: Any) -> Callable[..., AdobeSettings]:
    def make(**more: Any) -> AdobeSettings:
        adobe_connection(max_attempts=2, **more)
        return AdobeAudienceManagerHook().settings

    return make


@pytest.fixture
def session(settings: Callable[..., AdobeSettings]) -> Iterator[AdobeSession]:
    with AdobeSession(settings()) as session:
        yield session


@pytest.fixture
def hook(adobe_connection: Any) -> AdobeAudienceManagerHook:
    return AdobeAudienceManagerHook()


def test_the_seven_documented_calls(emulator, session):
    made = session.send(aam.create_group("Analysts", None))
    assert made == Group(made.group_id, "Analysts", None, 0, (), (), 1194)
    assert session.send(aam.update_group(made.group_id, "EMEA", "d")) == Group(
        made.group_id, "EMEA", "d", 0, (), (), 1194
    )
    assert [group.name for group in session.send(aam.list_groups()).items] == ["EMEA"]
    assert session.send(aam.set_group_permissions(made.group_id, [TRAIT])) == (TRAIT,)
    assert session.send(aam.list_group_permissions(made.group_id)) == (TRAIT,)
    assert session.send(aam.delete_group(made.group_id)) is True
    assert session.send(aam.delete_group(made.group_id)) is False
    ids = [emulator.audience_manager.add_group(name).group_id for name in "abcd"]
    assert session.send(aam.bulk_delete_groups(ids[:2])) is None
    assert session.send(aam.bulk_delete_groups(ids[2:], "POST")) is None
    assert emulator.audience_manager.groups == {}
    # The paths are those of Adobe's page, and each call asks for names as they are.
    assert [(entry.method, entry.path) for entry in emulator.journal.find(path="/groups")] == [
        ("POST", "/api/v1/groups/"),
        ("PUT", f"/api/v1/groups/{made.group_id}"),
        ("GET", "/api/v1/groups/"),
        ("PUT", f"/api/v1/groups/{made.group_id}/permissions/"),
        ("GET", f"/api/v1/groups/{made.group_id}/permissions"),
        ("DELETE", f"/api/v1/groups/{made.group_id}"),
        ("DELETE", f"/api/v1/groups/{made.group_id}"),
        ("DELETE", "/api/v1/groups/bulk-delete"),
        ("POST", "/api/v1/groups/bulk-delete"),
    ]
    assert {
        entry.headers["aam-disable-escaping-html"] for entry in emulator.journal.find(path="/groups")
    } == {"true"}


def test_the_documented_refusals(emulator, session):
    held = emulator.audience_manager.add_group("held", conflicted=True).group_id
    emulator.audience_manager.unreachable = {("TRAIT", 5)}

    with pytest.raises(AdobeConflictError, match=r"409.*cannot be deleted"):
        session.send(aam.delete_group(held))
    with pytest.raises(AdobeConflictError):
        session.send(aam.bulk_delete_groups([held]))
    with pytest.raises(AdobeValidationError, match="not accessible"):
        session.send(aam.list_group_permissions(999))
    with pytest.raises(AdobeValidationError, match="invalid permission for TRAIT"):
        session.send(aam.set_group_permissions(held, [Permission("TRAIT", 1, ("FLY",))]))
    with pytest.raises(AdobePermissionError, match="no access to TRAIT 5"):
        session.send(aam.set_group_permissions(held, [Permission("TRAIT", 5, ("READ",))]))
    emulator.switches["aam_caller_is_admin"] = False
    with pytest.raises(AdobePermissionError, match="only partner admins"):
        session.send(aam.list_groups())


@pytest.mark.parametrize("status", [200, 201])
def test_undocumented_statuses_are_all_fine(emulator, session, status):
    emulator.switches.update({"group_create_status": status, "group_put_status": status})

    made = session.send(aam.create_group("A"))

    assert session.send(aam.update_group(made.group_id, "B", None)).name == "B"


@pytest.mark.parametrize("shape", ["array_unless_paged", "array", "envelope"])
@pytest.mark.parametrize("count", [0, 1, 10, 11, 35])
def test_all_groups_are_read_in_either_shape(emulator, session, shape, count):
    emulator.switches["group_list_shape"] = shape
    for number in range(count):
        emulator.audience_manager.add_group(f"g{number}")
        emulator.audience_manager.add_user(f"u{number}")

    assert len(aam.all_of(session.send, aam.list_groups)) == count
    assert len(aam.all_of(session.send, lambda page, size: aam.list_users(None, page, size))) == count
    assert len(emulator.journal.find(path="/groups")) == (
        1 if shape != "envelope" else max(1, -(-count // 10))
    )


def answer_with(emulator: Any, body: Any, path: str = "/groups", **more: Any) -> None:
    emulator.faults.add(path=path, status=200, body=body, **more)


GROUP = {
    "groupId": 1,
    "pid": 1,
    "name": "A",
    "description": None,
    "membershipCount": 0,
    "wildcards": [],
    "users": [],
}


@pytest.mark.parametrize(
    "body",
    [
        {"total": 3, "page": 0, "pageSize": 10, "list": [GROUP]},
        {"total": 2, "page": 0, "pageSize": 1, "list": [GROUP]},
        {"total": 0, "page": 0, "pageSize": 10, "list": [GROUP]},
        {"page": 0, "list": []},
        {"total": 1, "page": 0, "pageSize": 10},
        {"groups": []},
        "text",
        [{"groupId": 1}],
        [{"name": "A"}],
        [{"groupId": True, "name": "A"}],
        [{**GROUP, "users": {}}],
        [{**GROUP, "name": 5}],
        [5],
    ],
)
def test_a_short_or_odd_list_is_an_error(emulator, session, body):
    answer_with(emulator, body)

    with pytest.raises(AdobeResponseError):
        aam.all_of(session.send, aam.list_groups)


def test_both_spellings_of_keys_are_read(emulator, session):
    answer_with(emulator, [{"id": "7", "name": "A", "wildcardPermissions": ["VIEW_TAGS"], "users": [1, 2]}])
    assert session.send(aam.list_groups()).items == (Group(7, "A", None, 2, ("VIEW_TAGS",), (1, 2), None),)

    user = {"uid": 3, "username": "ann", "emailAddress": "a@example.com", "admin": "true", "groups": [7]}
    answer_with(emulator, user, path="/users/self")
    seen = session.send(aam.get_self())
    assert (seen.user_id, seen.email, seen.is_admin, seen.groups) == (3, "a@example.com", True, (7,))


def test_users_are_read(emulator, session):
    emulator.switches["user_admin_as_string"] = True
    group_id = emulator.audience_manager.add_group("A").group_id
    emulator.audience_manager.add_user("ann", groups=[group_id], email="a@example.com", is_admin=True)
    emulator.audience_manager.add_user("bob", status="PENDING")

    users = session.send(aam.list_users()).items
    assert [(user.username, user.status, user.is_admin, user.groups) for user in users] == [
        ("ann", "ACTIVE", True, (group_id,)),
        ("bob", "PENDING", False, ()),
    ]
    assert [user.username for user in session.send(aam.list_users(group_id)).items] == ["ann"]
    assert session.send(aam.get_self()).username == "emulator-client"


def test_the_documented_permissions_are_those_that_the_service_tells(hook):
    for kind, found in hook.permissionable_object_types().items():
        assert set(found["perObject"]) == set(aam.OBJECT_PERMISSIONS.get(kind, ()))
        assert set(found["wildcard"]) == set(aam.WILDCARDS[kind])


def test_an_object_id_may_be_a_string(emulator, session):
    emulator.switches["permissions_object_id_as_string"] = True
    group_id = emulator.audience_manager.add_group("A", permissions=[TRAIT.as_json()]).group_id

    assert session.send(aam.list_group_permissions(group_id)) == (TRAIT,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: aam.create_group(" "),
        lambda: aam.create_group("a\nb"),
        lambda: aam.create_group("A", 7),  # type: ignore[arg-type]
        lambda: aam.update_group(0, "A", None),
        lambda: aam.update_group("../1", "A", None),  # type: ignore[arg-type]
        lambda: aam.delete_group(True),
        lambda: aam.get_group(None),  # type: ignore[arg-type]
        lambda: aam.bulk_delete_groups([]),
        lambda: aam.bulk_delete_groups([1, "x"]),  # type: ignore[list-item]
        lambda: aam.bulk_delete_groups([1], "PUT"),  # type: ignore[arg-type]
        lambda: aam.set_group_permissions(-1, []),
        lambda: aam.get_permissionable_object_type("../users"),
    ],
)
def test_bad_arguments_never_become_a_call(make):
    with pytest.raises(ValueError, match=r"must be|empty|may not|holds|name"):
        make()


# -- the hook


def test_a_group_is_created_once(emulator, hook):
    first, created = hook.create_group("A", "d")
    assert created
    again, created = hook.create_group(" A ", "other")
    assert (again, created) == (first, False)
    updated, created = hook.create_group("A", "other", if_exists="update")
    assert (updated.group_id, updated.description, created) == (first.group_id, "other", False)
    with pytest.raises(AdobeConflictError, match="exists"):
        hook.create_group("A", if_exists="fail")
    emulator.audience_manager.add_group("A")
    with pytest.raises(AmbiguousGroupsError, match="2 groups are named 'A'"):
        hook.create_group("A")
    with pytest.raises(ValueError, match="if_exists"):
        hook.create_group("A", if_exists="maybe")


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"drop": True}, {"status": 201, "body": "garbage"}, {"truncate": 5}],
)
def test_a_creation_whose_answer_was_lost_is_found_again(emulator, hook, fault):
    emulator.faults.add(method="POST", path="/groups", times=1, phase="after", **fault)

    group, _ = hook.create_group("A", "d")

    assert group.name == "A"
    assert len(emulator.audience_manager.groups) == 1
    assert len(emulator.journal.find("POST", "/groups")) == 1


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}])
def test_a_creation_that_was_not_processed_is_reported_not_repeated(emulator, hook, fault):
    emulator.faults.add(method="POST", path="/groups", times=1, **fault)

    with pytest.raises(AdobeUnknownOutcomeError, match="No group has this name now") as caught:
        hook.create_group("A")

    assert caught.value.transient
    assert len(emulator.journal.find("POST", "/groups")) == 1
    assert hook.create_group("A")[1]


def test_a_creation_that_found_twins_says_so(emulator, session):
    emulator.audience_manager.add_group("A")
    emulator.faults.add(method="POST", path="/groups", times=1, phase="after", drop=True)

    with pytest.raises(AdobeUnknownOutcomeError, match="2 groups have this name now"):
        create_once(session.send, "A", None)


def test_an_update_that_moves_members_is_loud(emulator, hook):
    user = emulator.audience_manager.add_user("ann")
    group_id = emulator.audience_manager.add_group(
        "A", users=[user.user_id], wildcards=["VIEW_TAGS"]
    ).group_id
    assert hook.update_group(group_id, "B", "d").name == "B"

    emulator.switches["group_wipe_on_put"] = True
    with pytest.raises(SideEffectError, match=r"membershipCount 1 -> 0.*users.*wildcards") as caught:
        hook.update_group(group_id, "C", None)
    assert not caught.value.transient


@pytest.mark.parametrize("documented", [True, False])
def test_one_group_is_read_whether_or_not_the_call_exists(emulator, hook, documented):
    emulator.switches["group_get_one"] = documented
    group_id = emulator.audience_manager.add_group("A").group_id

    assert hook.get_group(group_id).name == "A"
    with pytest.raises(AdobeNotFoundError):
        hook.get_group(group_id + 1)


def test_a_deletion_is_done_when_the_group_is_gone(emulator, hook):
    group_id = emulator.audience_manager.add_group("A").group_id
    emulator.faults.add(method="DELETE", path="/groups", times=1, phase="after", drop=True)

    assert hook.delete_group(group_id) is False
    assert emulator.audience_manager.groups == {}


def test_a_wrong_prefix_is_not_taken_for_a_deletion(emulator, adobe_connection):
    group_id = emulator.audience_manager.add_group("A").group_id
    emulator.switches["aam_prefix"] = "/v1"

    with pytest.raises(AdobeNotFoundError):
        AdobeAudienceManagerHook().delete_group(group_id)


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_bulk_deletion_leaves_out_what_is_gone(emulator, hook, method):
    ids = [emulator.audience_manager.add_group(name).group_id for name in "abc"]

    assert hook.bulk_delete_groups([*ids[:2], 9, ids[0]], method) == tuple(ids[:2])
    assert list(emulator.audience_manager.groups) == ids[2:]
    assert hook.bulk_delete_groups(ids[:2], method) == ()
    assert len(emulator.journal.writes()) == 1


def test_bulk_deletion_with_a_lost_answer_looks_what_is_left(emulator, hook):
    ids = [emulator.audience_manager.add_group(name).group_id for name in "abc"]
    emulator.faults.add(method="DELETE", path="bulk-delete", times=1, phase="after", drop=True)
    assert hook.bulk_delete_groups(ids) == tuple(ids)

    ids = [emulator.audience_manager.add_group(name).group_id for name in "abc"]
    emulator.faults.add(method="DELETE", path="bulk-delete", times=1, drop=True)
    with pytest.raises(AdobeUnknownOutcomeError, match="3 of 3 groups are left"):
        hook.bulk_delete_groups(ids)

    emulator.audience_manager.groups[ids[0]].conflicted = True
    with pytest.raises(AdobeConflictError, match="3 of 3 groups are left"):
        hook.bulk_delete_groups(ids)


def test_the_connection_test_tells_the_prefix(emulator, adobe_connection):
    emulator.switches["aam_prefix"] = "/v1"
    good, message = AdobeAudienceManagerHook().test_connection()
    assert not good
    assert "answers at /v1" in message
    adobe_connection(audience_manager_prefix="/v1")
    assert "Audience Manager: answers at prefix /v1." in AdobeAudienceManagerHook().test_connection()[1]


# -- the legacy password grant

LEGACY = {
    "authentication": "audience_manager_password",
    "username": "emulator-user",
    "user_password": "emulator-password",
    "org_id": None,
}


def test_the_legacy_grant_authenticates_and_sends_nothing_of_ims(emulator, settings):
    with AdobeSession(settings(**LEGACY)) as session:
        session.send(aam.create_group("A"))

    (entry,) = emulator.journal.find("POST", "/groups")
    assert "x-api-key" not in entry.headers
    assert "x-gw-ims-org-id" not in entry.headers
    assert emulator.audience_manager.tokens.requests == ["password"]
    assert emulator.ims.token_requests == 0


def test_the_legacy_token_is_refreshed_with_the_newest_refresh_token(emulator, settings, caplog):
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with AdobeSession(settings(**LEGACY), on_token=told.extend) as session:
        for _ in range(3):
            session.send(aam.list_groups())
            for token in list(emulator.audience_manager.tokens.access):
                emulator.expire_token(token)
        session.send(aam.list_groups())

    assert emulator.audience_manager.tokens.requests == [
        "password",
        "refresh_token",
        "refresh_token",
        "refresh_token",
    ]
    secrets = {*emulator.audience_manager.tokens.access, "emulator-password", "emulator-client-secret"}
    assert not [secret for secret in secrets if secret in caplog.text]
    assert set(emulator.audience_manager.tokens.access) <= set(told)


def test_without_a_working_refresh_token_the_password_is_used_again(emulator, settings):
    with AdobeSession(settings(**LEGACY)) as session:
        session.send(aam.list_groups())
        emulator.audience_manager.tokens.refresh.clear()
        emulator.expire_token(next(iter(emulator.audience_manager.tokens.access)))
        session.send(aam.list_groups())

    assert emulator.audience_manager.tokens.requests == ["password", "refresh_token", "password"]


def test_the_401_that_echoes_the_token_is_redacted(emulator, settings, caplog):
    caplog.set_level(logging.DEBUG)
    emulator.switches["legacy_token_seconds"] = 0
    with AdobeSession(settings(**LEGACY)) as session, pytest.raises(AdobeAuthenticationError) as caught:
        session.send(aam.list_groups())

    assert emulator.audience_manager.tokens.access
    for token in emulator.audience_manager.tokens.access:
        assert token not in str(caught.value)
        assert token not in repr(caught.value)
        assert token not in caplog.text
    assert "Access token expired: ***" in str(caught.value)


def test_a_wrong_legacy_password_is_explained(emulator, settings):
    wrong = settings(**LEGACY | {"user_password": "wrong-password"})
    with (
        AdobeSession(wrong) as session,
        pytest.raises(AdobeAuthenticationError, match="Bad credentials") as caught,
    ):
        session.send(aam.list_groups())
    assert "wrong-password" not in str(caught.value)
    assert "check username and user_password, too" in caught.value.hint
