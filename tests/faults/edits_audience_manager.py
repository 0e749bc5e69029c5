# SPDX-License-Identifier: Apache-2.0
"""What somebody else edits in groups meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.by_hand import adobe
from tests.faults.edits import Edit, Edited
from tests.faults.harness import Run, World
from tests.faults.rows import Facts
from tests.faults.rows_audience_manager import OTHER, READ, live

GROUPS = "/api/v1/groups/"
BY_HAND = "IN USE, do not delete"
FOREIGN_ROW = {"objectType": "SEGMENT", "objectId": 77, "permissions": ["READ"]}


def _put(world: World, group_id: int, **fields: Any) -> None:
    now = live(world)[group_id]
    body = {"name": now["name"], "description": now["description"], **fields}
    with adobe(world.emulator) as client:
        client.put(f"{GROUPS}{group_id}", json=body).raise_for_status()


def look_at(group_ids: Iterable[int], *, permissions: bool = False) -> Callable[[Any], bool]:
    """Whether a request shows the names of all groups or of one of these, or the permissions of one."""
    ids = list(group_ids)
    end = "/permissions" if permissions else ""
    places = {f"{GROUPS}{group_id}{end}" for group_id in ids} | (
        set() if permissions else {GROUPS, GROUPS[:-1]}
    )
    return lambda entry: entry.path in places


def puts(group: str, **fields: Any) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        if facts["ids"][group] in live(world):
            _put(world, facts["ids"][group], **fields)

    return do


def grants(group: str, rows: list[dict[str, Any]]) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        if facts["ids"][group] in live(world):
            with adobe(world.emulator) as client:
                client.put(f"{GROUPS}{facts['ids'][group]}/permissions/", json=rows).raise_for_status()

    return do


def joins(group: str) -> Callable[[World, Facts], dict[str, Any]]:
    def do(world: World, facts: Facts) -> dict[str, Any]:
        aam = world.emulator.audience_manager
        user = aam.add_user("bob")
        if facts["ids"][group] in aam.groups:
            aam.join(user.user_id, facts["ids"][group])
        return {"user": user.user_id}

    return do


def gets_a_wildcard(group: str) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        known = world.emulator.audience_manager.groups.get(facts["ids"][group])
        if known is not None:
            known.wildcards.append("CREATE_TRAITS")

    return do


def deletes(group: str) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        if facts["ids"][group] in live(world):
            with adobe(world.emulator) as client:
                client.delete(f"{GROUPS}{facts['ids'][group]}").raise_for_status()

    return do


def creates(name: str) -> Callable[[World, Facts], dict[str, Any]]:
    def do(world: World, facts: Facts) -> dict[str, Any]:
        with adobe(world.emulator) as client:
            response = client.post(GROUPS, json={"name": name, "description": BY_HAND})
            return {"id": response.raise_for_status().json()["groupId"]}

    return do


def _writes_to(group_id: int) -> Callable[[Any], bool]:
    return lambda entry: (
        entry.write
        and (f"{GROUPS}{group_id}" in entry.path or ("bulk-delete" in entry.path and entry.committed))
    )


def keeps(group: str, what: str, value: Callable[[Edited], Any]) -> Callable[[Edited, Run], None]:
    """What is not declared stands as the other left it."""

    def right(note: Edited, run: Run) -> None:
        group_id = run.facts["ids"][group]
        now = live(note.world).get(group_id)
        if now is None:
            assert group in ("old", "older"), f"{group} is gone"
            return
        wanted = value(note)
        found = now[what]
        if found == wanted or (isinstance(found, list) and wanted in found):
            return
        if group_id_was_gone(note, group_id):
            return
        assert note.in_the_window(_writes_to(group_id)), f"{what} of {group} is {found}, not {wanted}"

    return right


def group_id_was_gone(note: Edited, group_id: int) -> bool:
    return any(
        entry.committed and entry.method == "DELETE" and entry.sequence <= note.before
        for entry in note.world.emulator.journal.entries
        if f"{GROUPS}{group_id}" in entry.path
    )


def spares(
    group: str, *, planned_before: bool, by_members: bool = False, by_permissions: bool = False
) -> Callable[[Edited, Run], None]:
    """A group that has changed since it was planned to be deleted is still there."""

    def right(note: Edited, run: Run) -> None:
        group_id = run.facts["ids"][group]
        if group_id in live(note.world) or run.facts.get("options"):  # a person has allowed it since
            return
        if not by_members and sum(ended.phase == "execute" for ended in run.history) > 1:
            return  # a later try has planned it anew, or a person has, and the plan shows the change
        entries = note.world.emulator.journal.entries
        gone = [entry for entry in entries if entry.committed and _writes_to(group_id)(entry)]
        if gone and gone[0].sequence <= note.before and gone[0].sequence != note.on_its_way:
            return  # it was deleted before it was edited
        seen_in = f"{GROUPS}{group_id}/permissions" if by_permissions else GROUPS
        looked = [entry for entry in entries if entry.method == "GET" and entry.path == seen_in]
        known = bool(looked) and looked[0].sequence > note.until
        if (known and not planned_before) or (
            looked and looked[0].sequence == note.on_its_way and not planned_before
        ):
            return  # the plan was made after the edit, and says so
        assert note.in_the_window(_writes_to(group_id)), f"{group} was deleted although it had changed"

    return right


def declared(note: Edited, run: Run) -> None:
    """What is declared stands as declared, unless the other came after the task's last look."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for group in live(note.world).values():
        groups.setdefault(group["name"], []).append(group)
    wanted = {"EMEA Analysts": [READ], "EMEA Two": None, "R&D": [{**OTHER, "permissions": ["READ", "WRITE"]}]}
    for name, permissions in wanted.items():
        found = groups.get(name, [])
        wrong = ""
        granted = len(found) == 1
        if not granted:
            wrong = f"{len(found)} groups are called {name}"
        elif permissions is not None and found[0]["permissions"] != permissions:
            wrong = f"{name} has {found[0]['permissions']}"
        ids = {group["groupId"] for group in found} | (
            {run.facts["ids"]["research"]} if name == "R&D" else set()
        )
        assert not wrong or note.after_the_last_look(look_at(ids, permissions=granted)), wrong
    assert groups["Admins"] == [run.facts["before"][str(run.facts["ids"]["admins"])]] or note.facts.get(
        "admins"
    ), "Admins has changed"


def both(*rights: Callable[[Edited, Run], None]) -> Callable[[Edited, Run], None]:
    def right(note: Edited, run: Run) -> None:
        for one in rights:
            one(note, run)

    return right


def of_a_sync(*, planned_before: bool) -> list[Edit]:
    spared = {name: spares(name, planned_before=planned_before) for name in ("old", "older")}
    permitted = spares("old", planned_before=planned_before, by_permissions=True)
    # Whoever joins protects a group, whether or not that was planned.
    protected = spares("old", planned_before=True, by_members=True)
    return [
        Edit(
            "describes a group",
            puts("research", description=BY_HAND),
            both(declared, keeps("research", "description", lambda _: BY_HAND)),
        ),
        Edit(
            "adds a wildcard",
            gets_a_wildcard("research"),
            both(declared, keeps("research", "wildcards", lambda _: "CREATE_TRAITS")),
        ),
        Edit(
            "joins a group",
            joins("research"),
            both(declared, keeps("research", "users", lambda note: note.facts["user"])),
        ),
        Edit(
            "renames a group",
            puts("research", name="Laboratory"),
            both(
                declared,
                lambda note, run: (
                    None
                    if note.after_the_last_look(look_at([run.facts["ids"]["research"]]))
                    else keeps("research", "name", lambda _: "Laboratory")(note, run)
                ),
            ),
        ),
        Edit("changes permissions", grants("research", [FOREIGN_ROW]), declared),
        Edit("deletes a group", deletes("research"), declared),
        Edit("creates a declared group", creates("EMEA Analysts"), declared),
        Edit(
            "describes a group to be deleted",
            puts("old", description=BY_HAND),
            both(declared, spared["old"]),
        ),
        Edit("permits a group to be deleted", grants("old", [FOREIGN_ROW]), both(declared, permitted)),
        Edit(
            "adds a wildcard to a group to be deleted",
            gets_a_wildcard("older"),
            both(declared, spared["older"]),
        ),
        Edit("joins a group to be deleted", joins("old"), both(declared, protected)),
        Edit(
            "describes a group of somebody else",
            lambda world, facts: (puts("admins", description=BY_HAND)(world, facts), {"admins": True})[1],
            both(declared, keeps("admins", "description", lambda _: BY_HAND)),
        ),
    ]


OF_ONE_GROUP = {
    "describes a group": Edit(
        "describes a group",
        puts("research", description=BY_HAND),
        keeps("research", "description", lambda _: BY_HAND),
    ),
    "adds a wildcard": Edit(
        "adds a wildcard",
        gets_a_wildcard("research"),
        keeps("research", "wildcards", lambda _: "CREATE_TRAITS"),
    ),
    "joins a group": Edit(
        "joins a group", joins("research"), keeps("research", "users", lambda note: note.facts["user"])
    ),
    "changes permissions": Edit(
        "changes permissions",
        grants("research", [FOREIGN_ROW]),
        keeps("research", "permissions", lambda _: FOREIGN_ROW),
    ),
}


def one_of_this_name(note: Edited, run: Run) -> None:
    same = [group for group in live(note.world).values() if group["name"] == "Analysts"]
    assert len(same) == 1 or note.after_the_last_look(look_at([])), f"{len(same)} groups are called Analysts"
