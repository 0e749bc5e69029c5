# SPDX-License-Identifier: Apache-2.0
"""The emulator's Audience Manager as Adobe's page "Group Management API Methods" describes it, and each
switch where the page is silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

GROUPS = "/api/v1/groups/"
TRAIT = {"objectType": "TRAIT", "objectId": 83498, "permissions": ["READ", "MAP_TO_SEGMENTS"]}


@pytest.fixture
def adobe(emulator: RunningEmulator) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {emulator.ims.issue()}", "x-api-key": "emulator-client"}
    with httpx.Client(base_url=emulator.url, headers=headers, timeout=10) as client:
        yield client


def delete(adobe: httpx.Client, path: str, body: Any) -> httpx.Response:
    return adobe.request("DELETE", path, json=body)


def test_the_seven_documented_calls_field_by_field(emulator, adobe):
    # Create a group
    answer = adobe.post(GROUPS, json={"name": "Analysts", "description": None})
    assert answer.status_code == 201
    group = answer.json()
    assert set(group) == {"groupId", "pid", "name", "description", "membershipCount", "wildcards", "users"}
    assert isinstance(group["groupId"], int)
    assert isinstance(group["pid"], int)
    assert (
        group["name"],
        group["description"],
        group["membershipCount"],
        group["wildcards"],
        group["users"],
    ) == (
        "Analysts",
        None,
        0,
        [],
        [],
    )
    one = f"{GROUPS}{group['groupId']}"

    # Update a group
    answer = adobe.put(one, json={"name": "EMEA Analysts", "description": "read only"})
    assert answer.status_code == 200
    assert answer.json() == group | {"name": "EMEA Analysts", "description": "read only"}

    # List groups: a bare array
    answer = adobe.get(GROUPS)
    assert answer.status_code == 200
    assert answer.json() == [group | {"name": "EMEA Analysts", "description": "read only"}]

    # Set permissions: the whole collection is replaced, the answer is the updated one
    first = [{"objectType": "SEGMENT", "objectId": 563, "permissions": ["READ", "WRITE"]}]
    second = [
        {"objectType": "SEGMENT", "objectId": 2363, "permissions": ["CREATE", "WRITE"]},
        TRAIT,
        {"objectType": "DESTINATION", "objectId": 304, "permissions": ["READ", "WRITE", "CREATE"]},
    ]
    assert adobe.put(f"{one}/permissions/", json=first).status_code == 200
    answer = adobe.put(f"{one}/permissions/", json=second)
    assert (answer.status_code, answer.json()) == (200, second)

    # List permissions
    answer = adobe.get(f"{one}/permissions")
    assert (answer.status_code, answer.json()) == (200, second)

    # Set permissions: 400 for an invalid permission, 403 for an object that is out of reach; nothing has
    # changed
    for bad in (
        {"objectType": "TRAIT", "objectId": 1, "permissions": ["FLY"]},
        {"objectType": "NOTHING", "objectId": 1, "permissions": ["READ"]},
    ):
        assert adobe.put(f"{one}/permissions/", json=[TRAIT, bad]).status_code == 400
    emulator.audience_manager.unreachable = {("TRAIT", 5)}
    assert adobe.put(f"{one}/permissions/", json=[{**TRAIT, "objectId": 5}]).status_code == 403
    assert adobe.get(f"{one}/permissions").json() == second

    # List permissions: 400 when the group is not accessible
    closed = emulator.audience_manager.add_group("closed", inaccessible=True)
    assert adobe.get(f"{GROUPS}{closed.group_id}/permissions").status_code == 400
    assert adobe.get(f"{GROUPS}999999/permissions").status_code == 400

    # Delete a group: 204 without a body, its members are taken out of it, 409 in case of conflict
    user = emulator.audience_manager.add_user("ann", groups=[group["groupId"]])
    answer = adobe.delete(one)
    assert (answer.status_code, answer.content) == (204, b"")
    assert adobe.get(f"/api/v1/users/{user.user_id}").json()["groups"] == []
    held = emulator.audience_manager.add_group("held", conflicted=True)
    assert adobe.delete(f"{GROUPS}{held.group_id}").status_code == 409

    # Delete groups in bulk
    ids = [emulator.audience_manager.add_group(name).group_id for name in "ab"]
    answer = delete(adobe, "/api/v1/groups/bulk-delete", ids)
    assert (answer.status_code, answer.content) == (204, b"")
    third = emulator.audience_manager.add_group("c").group_id
    assert delete(adobe, "/api/v1/groups/bulk-delete", [third, held.group_id]).status_code == 409
    assert [group["name"] for group in adobe.get(GROUPS).json()] == ["closed", "held", "c"]


def test_membership_is_one_relation_seen_from_two_sides(emulator, adobe):
    group_id = emulator.audience_manager.add_group("A").group_id
    body = {
        "username": "ann",
        "firstName": "Ann",
        "lastName": "B",
        "email": "a@example.com",
        "groups": [group_id],
        "isAdmin": False,
    }
    ann = adobe.post("/api/v1/users/", json=body)
    assert ann.status_code == 201
    user_id = ann.json()["userId"]
    assert ann.json() == {
        "pid": 1194,
        "userId": user_id,
        "username": "ann",
        "status": "ACTIVE",
        "firstName": "Ann",
        "lastName": "B",
        "email": "a@example.com",
        "title": None,
        "phoneNumber": None,
        "groups": [group_id],
        "isAdmin": False,
    }
    seen = adobe.get(GROUPS).json()[0]
    assert (seen["users"], seen["membershipCount"]) == ([user_id], 1)
    assert [user["userId"] for user in adobe.get("/api/v1/users/", params={"groupId": group_id}).json()] == [
        user_id
    ]
    assert adobe.post("/api/v1/users/", json=body).status_code == 409

    left = adobe.put(f"/api/v1/users/{user_id}", json={**body, "groups": []})
    assert left.status_code == 200
    assert not {"title", "phoneNumber"} & left.json().keys()
    seen = adobe.get(GROUPS).json()[0]
    assert (seen["users"], seen["membershipCount"]) == ([], 0)
    for wrong in ([999], [[group_id]], group_id):
        assert adobe.put(f"/api/v1/users/{user_id}", json={**body, "groups": wrong}).status_code == 400

    emulator.audience_manager.join(user_id, group_id)
    assert adobe.delete(f"/api/v1/users/{user_id}").status_code == 204
    assert adobe.get(GROUPS).json()[0]["membershipCount"] == 0
    assert adobe.get(f"/api/v1/users/{user_id}").status_code == 404


def test_users_in_bulk(emulator, adobe):
    ids = [emulator.audience_manager.add_user(name).user_id for name in ("a", "b", "c")]

    assert adobe.post("/api/v1/users/bulk-delete", json=ids[:2]).status_code == 204
    assert [user["userId"] for user in adobe.get("/api/v1/users/").json()] == ids[2:]
    for wrong in (ids, [[ids[2]]], {}):
        assert adobe.post("/api/v1/users/bulk-delete", json=wrong).status_code == 400


def test_ids_are_never_used_again(emulator, adobe):
    first = adobe.post(GROUPS, json={"name": "A", "description": None}).json()["groupId"]
    adobe.delete(f"{GROUPS}{first}")

    assert adobe.post(GROUPS, json={"name": "A", "description": None}).json()["groupId"] > first


def test_permissionable_object_types(adobe):
    types = adobe.get("/api/v1/permissionable-object-types/").json()
    assert sorted(types) == ["DERIVED_SIGNALS", "DESTINATION", "SEGMENT", "TAGS", "TRAIT"]
    found = {kind: adobe.get(f"/api/v1/permissionable-object-types/{kind}/").json() for kind in types}
    assert found["TAGS"] == {"wildcard": ["VIEW_TAGS"], "perObject": []}
    assert "MAP_TO_DESTINATION" in found["SEGMENT"]["perObject"]
    assert sum(len(kind["wildcard"]) for kind in found.values()) == 22
    assert adobe.get("/api/v1/permissionable-object-types/NOTHING/").status_code == 404


def test_there_are_25_wildcards():
    from airflow_provider_adobe_audiences.adobe.audience_manager import WILDCARDS
    from airflow_provider_adobe_audiences.emulator.audience_manager import ALL_WILDCARDS, PER_OBJECT

    assert len(ALL_WILDCARDS) == len(set(ALL_WILDCARDS)) == 25
    # Two independent readings of the same pages.
    assert sorted(ALL_WILDCARDS) == sorted(token for tokens in WILDCARDS.values() for token in tokens)
    from airflow_provider_adobe_audiences.adobe.audience_manager import OBJECT_PERMISSIONS

    assert {kind: sorted(tokens) for kind, tokens in PER_OBJECT.items() if tokens} == {
        k: sorted(v) for k, v in OBJECT_PERMISSIONS.items()
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[" * 100_000,
        b'{"name": "A", "description": null,}',
        b"[]",
        b"{}",
        b'{"name": "A"}',
        b'{"name": " ", "description": null}',
        b'{"name": 1, "description": null}',
        b'{"name": "A", "description": 1}',
        b'{"name": "A", "description": null, "users": []}',
    ],
)
def test_a_bad_body_is_refused(emulator, adobe, body):
    answer = adobe.post(GROUPS, content=body)

    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message"}
    assert emulator.audience_manager.groups == {}


def test_the_seeds_sample_body_is_not_json_and_is_refused(adobe):
    """Adobe's page prints a comma after the last key."""
    assert adobe.post(GROUPS, content=b'{\n "name" : "a",\n "description" : "b",\n }').status_code == 400


# -- the switches, each with its default first


def one(emulator: RunningEmulator, **more: Any) -> str:
    return f"{GROUPS}{emulator.audience_manager.add_group('A', 'd', **more).group_id}"


def test_switch_prefix(emulator, adobe):
    assert [adobe.get(f"{prefix}/groups").status_code for prefix in ("/api/v1", "/v1")] == [200, 200]
    emulator.switches["aam_prefix"] = "/v1"
    assert [adobe.get(f"{prefix}/groups").status_code for prefix in ("/api/v1", "/v1")] == [404, 200]


def test_switch_trailing_slash(emulator, adobe):
    path = one(emulator)
    forms = [GROUPS, GROUPS.rstrip("/"), f"{path}/permissions", f"{path}/permissions/"]
    assert [adobe.get(form).status_code for form in forms] == [200, 200, 200, 200]
    emulator.switches["aam_trailing_slash"] = "strict"
    assert [adobe.get(form).status_code for form in forms] == [200, 404, 200, 404]
    assert [adobe.put(f"{path}/permissions{end}", json=[]).status_code for end in ("", "/")] == [404, 200]


def test_switch_api_key(emulator, adobe):
    del adobe.headers["x-api-key"]
    answer = adobe.get(GROUPS)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "403000")
    emulator.switches["aam_api_key_required"] = False
    assert adobe.get(GROUPS).status_code == 200


def test_switch_admin(emulator, adobe):
    emulator.switches["aam_caller_is_admin"] = False
    assert adobe.get(GROUPS).status_code == 403
    assert adobe.get("/api/v1/users/self").status_code == 200


def test_switch_first_self(emulator, adobe):
    emulator.switches["aam_first_self_creates_user"] = False
    assert adobe.get("/api/v1/users/self").status_code == 404
    emulator.switches["aam_first_self_creates_user"] = True
    first = adobe.get("/api/v1/users/self").json()
    assert adobe.get("/api/v1/users/self").json() == first
    assert len(emulator.audience_manager.users) == 1


def test_switch_create_status(emulator, adobe):
    emulator.switches["group_create_status"] = 200
    assert adobe.post(GROUPS, json={"name": "A", "description": None}).status_code == 200


def test_switch_put_status(emulator, adobe):
    emulator.switches["group_put_status"] = 201
    assert adobe.put(one(emulator), json={"name": "B", "description": None}).status_code == 201


def test_switch_put_without_description(emulator, adobe):
    path = one(emulator)
    assert adobe.put(path, json={"name": "A"}).status_code == 400
    emulator.switches["group_put_without_description"] = "unchanged"
    assert adobe.put(path, json={"name": "A"}).json()["description"] == "d"
    emulator.switches["group_put_without_description"] = "null"
    assert adobe.put(path, json={"name": "A"}).json()["description"] is None


def test_switch_wipe_on_put(emulator, adobe):
    user = emulator.audience_manager.add_user("ann")
    path = one(emulator, users=[user.user_id], wildcards=["VIEW_TAGS"], permissions=[TRAIT])
    kept = adobe.put(path, json={"name": "A", "description": None}).json()
    assert (kept["membershipCount"], kept["wildcards"], adobe.get(f"{path}/permissions").json()) == (
        1,
        ["VIEW_TAGS"],
        [TRAIT],
    )
    emulator.switches["group_wipe_on_put"] = True
    wiped = adobe.put(path, json={"name": "A", "description": None}).json()
    assert (wiped["membershipCount"], wiped["wildcards"], adobe.get(f"{path}/permissions").json()) == (
        0,
        [],
        [],
    )


def test_switch_name_taken(emulator, adobe):
    path = one(emulator)
    assert adobe.post(GROUPS, json={"name": "A", "description": None}).status_code == 201
    emulator.switches["group_name_taken"] = "conflict"
    assert adobe.post(GROUPS, json={"name": "A", "description": None}).status_code == 409
    emulator.audience_manager.add_group("B")
    assert adobe.put(path, json={"name": "B", "description": None}).status_code == 409


def test_switch_get_one(emulator, adobe):
    path = one(emulator)
    assert adobe.get(path).json()["name"] == "A"
    emulator.switches["group_get_one"] = False
    assert adobe.get(path).status_code == 404


def test_switch_unknown_status(emulator, adobe):
    body = {"name": "A", "description": None}
    for status in (404, 403):
        emulator.switches["group_unknown_status"] = status
        answers = (adobe.get(f"{GROUPS}9"), adobe.put(f"{GROUPS}9", json=body), adobe.delete(f"{GROUPS}9"))
        assert [answer.status_code for answer in answers] == [status] * 3


def test_switch_list_shape(emulator, adobe):
    for name in "abc":
        emulator.audience_manager.add_group(name)
    paged = {"page": 1, "pageSize": 2}
    assert isinstance(adobe.get(GROUPS).json(), list)
    envelope = adobe.get(GROUPS, params=paged).json()
    assert (
        envelope["total"],
        envelope["page"],
        envelope["pageSize"],
        [g["name"] for g in envelope["list"]],
    ) == (3, 1, 2, ["c"])
    assert adobe.get(GROUPS, params={"page": -1}).status_code == 400
    emulator.switches["group_list_shape"] = "array"
    assert len(adobe.get(GROUPS, params=paged).json()) == 3
    emulator.switches["group_list_shape"] = "envelope"
    assert adobe.get(GROUPS).json()["total"] == 3


def test_switch_html_escaping(emulator, adobe):
    emulator.audience_manager.add_group("R&D", "<b>")
    asked = {"AAM-Disable-Escaping-HTML": "true"}

    def names() -> list[str]:
        return [adobe.get(GROUPS, headers=headers).json()[0]["name"] for headers in ({}, asked)]

    assert names() == ["R&D", "R&D"]
    emulator.switches["group_html_escaping"] = "unless_header"
    assert names() == ["R&amp;D", "R&D"]
    emulator.switches["group_html_escaping"] = "always"
    assert names() == ["R&amp;D", "R&amp;D"]


def test_switch_permissions_of_an_unknown_group(emulator, adobe):
    assert adobe.put(f"{GROUPS}9/permissions/", json=[]).status_code == 400
    emulator.switches["permissions_unknown_group_status"] = 404
    assert adobe.put(f"{GROUPS}9/permissions/", json=[]).status_code == 404


def test_switch_object_id_as_string(emulator, adobe):
    path = one(emulator, permissions=[TRAIT])
    emulator.switches["permissions_object_id_as_string"] = True
    assert adobe.get(f"{path}/permissions").json()[0]["objectId"] == "83498"
    assert adobe.put(f"{path}/permissions", json=[{**TRAIT, "objectId": "5"}]).json()[0]["objectId"] == "5"


def test_switch_bulk_delete_verb(emulator, adobe):
    path = "/api/v1/groups/bulk-delete"
    for verb, deletes, posts in (("both", 204, 204), ("DELETE", 204, 405), ("POST", 405, 204)):
        emulator.switches["bulk_delete_verb"] = verb
        ids = [emulator.audience_manager.add_group("x").group_id for _ in range(2)]
        assert delete(adobe, path, ids[:1]).status_code == deletes
        assert adobe.post(path, json=ids[1:]).status_code == posts


def test_switch_bulk_delete_unknown_id(emulator, adobe):
    path = "/api/v1/groups/bulk-delete"
    known = emulator.audience_manager.add_group("x").group_id
    for value, status in (("404", 404), ("409", 409)):
        emulator.switches["bulk_delete_unknown_id"] = value
        assert delete(adobe, path, [known, 9]).status_code == status
        assert known in emulator.audience_manager.groups
    emulator.switches["bulk_delete_unknown_id"] = "partial"
    assert delete(adobe, path, [known, 9]).status_code == 204
    assert emulator.audience_manager.groups == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'["1"]', b"[true]"])
def test_switch_bulk_delete_bad_body(emulator, adobe, body):
    path = "/api/v1/groups/bulk-delete"
    assert adobe.request("DELETE", path, content=body).status_code == 400
    emulator.switches["bulk_delete_bad_body"] = 204
    assert adobe.request("DELETE", path, content=body).status_code == 204


def test_switch_admin_as_string(emulator, adobe):
    emulator.audience_manager.add_user("ann", is_admin=True)
    assert adobe.get("/api/v1/users/").json()[0]["isAdmin"] is True
    emulator.switches["user_admin_as_string"] = True
    assert adobe.get("/api/v1/users/").json()[0]["isAdmin"] == "true"


# -- the legacy password grant


PAIR = ("emulator-client", "emulator-client-secret")
GRANT = {"grant_type": "password", "username": "emulator-user", "password": "emulator-password"}


def test_the_legacy_grant_and_its_refresh(emulator):
    with httpx.Client(base_url=emulator.url) as adobe:
        first = adobe.post("/oauth/token", auth=PAIR, data=GRANT)
        assert first.status_code == 200
        assert first.headers["cache-control"] == "no-store"
        assert first.json().keys() == {"access_token", "token_type", "refresh_token", "expires_in", "scope"}
        bearer = {"authorization": f"Bearer {first.json()['access_token']}"}
        assert adobe.get(GROUPS, headers=bearer).status_code == 200

        refresh = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]}
        second = adobe.post("/oauth/token", auth=PAIR, data=refresh).json()
        assert second["refresh_token"] != first.json()["refresh_token"]
        assert adobe.post("/oauth/token", auth=PAIR, data=refresh).status_code == 400

        emulator.expire_token(second["access_token"])
        refused = adobe.get(GROUPS, headers={"authorization": f"Bearer {second['access_token']}"})
        assert refused.status_code == 401
        assert f"Access token expired: {second['access_token']}" in refused.headers["www-authenticate"]
    shown = str([entry.as_dict() for entry in emulator.journal.entries])
    for secret in (
        first.json()["access_token"],
        second["access_token"],
        second["refresh_token"],
        "emulator-password",
        PAIR[1],
    ):
        assert secret not in shown


def test_the_legacy_grant_refuses(emulator):
    with httpx.Client(base_url=emulator.url) as adobe:
        assert adobe.post("/oauth/token", data=GRANT).status_code == 401
        assert adobe.post("/oauth/token", auth=("emulator-client", "wrong"), data=GRANT).status_code == 401
        assert adobe.post("/oauth/token", auth=PAIR, data=GRANT | {"password": "wrong"}).status_code == 400
        assert adobe.post("/oauth/token", auth=PAIR, data={"grant_type": "implicit"}).status_code == 400
        emulator.switches["legacy_refresh_token"] = False
        emulator.switches["legacy_token_seconds"] = -1
        answer = adobe.post("/oauth/token", auth=PAIR, data=GRANT).json()
        assert "refresh_token" not in answer
        assert answer["expires_in"] == -1
        emulator.clock.advance(10_000_000)
        assert (
            adobe.get(GROUPS, headers={"authorization": f"Bearer {answer['access_token']}"}).status_code
            == 200
        )


def test_the_control_api_sets_up_what_the_api_cannot(emulator, adobe):
    control = "/_emulator/audience_manager"
    user = adobe.post(f"{control}/users", json={"username": "ann"}).json()
    group = adobe.post(
        f"{control}/groups",
        json={"name": "A", "users": [user["userId"]], "wildcards": ["VIEW_TAGS"], "conflicted": True},
    ).json()
    assert (group["membershipCount"], group["wildcards"]) == (1, ["VIEW_TAGS"])
    assert adobe.delete(f"{GROUPS}{group['groupId']}").status_code == 409
    assert adobe.put(f"{control}/unreachable", json={"TRAIT": [1]}).status_code == 204
    assert (
        adobe.put(f"{GROUPS}{group['groupId']}/permissions", json=[{**TRAIT, "objectId": 1}]).status_code
        == 403
    )
    assert adobe.post(f"{control}/groups", json={"colour": "red"}).status_code == 400
    state = adobe.get("/_emulator/state").json()["audience_manager"]
    assert state["groups"][0]["users"] == [user["userId"]]
    assert state["users"][0]["groups"] == [group["groupId"]]


def test_a_wrong_setup_adds_nothing(emulator, adobe):
    control = "/_emulator/audience_manager"
    for path, body in (
        ("groups", {"name": "a", "users": 5}),
        ("groups", {"name": "a", "users": [999]}),
        ("groups", {"name": 7}),
        ("groups", {"name": "a", "description": {}}),
        ("groups", {"name": "a", "permissions": [1]}),
        ("groups", {"nonsense": 1}),
        ("users", {"username": "u", "groups": [999]}),
        ("users", {"username": []}),
    ):
        answer = adobe.post(f"{control}/{path}", json=body)
        assert answer.status_code == 400, body
        assert answer.json()["message"]
    assert adobe.put(f"{control}/unreachable", json={"TRAIT": ["x"]}).status_code == 400
    assert (emulator.audience_manager.groups, emulator.audience_manager.users) == ({}, {})
