# SPDX-License-Identifier: Apache-2.0
"""Somebody else edits at Adobe what a task works on, at every request of it, through Adobe's own API.

What is right: what is declared stands as declared, and what is not declared stands as the other left it. An
edit may be lost only in the window that the API leaves: it lies between a task's last look and its write, and
no more than :data:`WINDOW` requests of the task lie between them. What is edited after the task's last look
is not the task's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.acts import act, at, at_every_moment, phase_of, release
from tests.faults.faults import Case, Play
from tests.faults.harness import Run, World
from tests.faults.people import FOLLOWED, follow, free_of_secrets
from tests.faults.rows import Facts
from tests.faults.rows_audience_manager import OTHER, READ, live
from tests.faults.rows_experience_platform import IMPORT, adobe, audiences, batches, exactly_the_source
from tests.faults.rows_target import DAY, REQUIRED

#: So many requests of a task may lie between its look at a thing and its write to it.
WINDOW = 2
GROUPS = "/api/v1/groups/"
BY_HAND = "IN USE, do not delete"
FOREIGN_ROW = {"objectType": "SEGMENT", "objectId": 77, "permissions": ["READ"]}


@dataclass
class Edited:
    """What was done, and when.

    :ivar before: sequence of the last request before it.
    :ivar until: sequence of its own last request.
    :ivar on_its_way: sequence of the task's request that was held before it was processed.
    """

    world: World
    before: int
    on_its_way: int | None
    until: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def requests_since(self) -> list[Any]:
        """Return what of the task was processed after the edit, in order."""
        entries = self.world.emulator.journal.entries
        return [
            *(entry for entry in entries if entry.sequence == self.on_its_way),
            *(entry for entry in entries if entry.sequence > self.until),
        ]

    def in_the_window(self, writes: Callable[[Any], bool]) -> bool:
        """Whether the first of these writes came so soon that the task could not know."""
        since = self.requests_since()
        first = next(
            (number for number, entry in enumerate(since) if entry.committed and writes(entry)), None
        )
        return first is not None and first <= WINDOW

    def after_the_last_look(self, looks: Callable[[Any], bool]) -> bool:
        return not any(entry.method == "GET" and looks(entry) for entry in self.requests_since())


@dataclass(frozen=True)
class Edit:
    """What somebody else does.

    :param do: does it; what it returns, ``right`` finds in :attr:`Edited.facts`.
    :param right: raises :class:`AssertionError` unless the finished, green run has left the right data.
    """

    name: str
    do: Callable[[World, Facts], dict[str, Any] | None]
    right: Callable[[Edited, Run], None]


def edited(edit: Edit) -> Play:
    def play(case: Case) -> None:
        world = case.world
        case.rule(phase=phase_of(case), hold=True)
        run = case.run()
        seen: list[Edited] = []

        def change(run: Run, held: dict[str, Any]) -> None:
            last = world.emulator.journal.entries[-1].sequence
            note = Edited(world, last, held["sequence"] if held["phase"] == "before" else None)
            note.facts = edit.do(world, case.facts) or {}
            note.until = world.emulator.journal.entries[-1].sequence
            seen.append(note)
            release(case, held)

        run.to_the_end(at(change))
        for _ in range(FOLLOWED):
            if run.state == "failed":
                run = follow(case, run)
        free_of_secrets(case)
        if run.state == "failed":
            assert case.row.name in MAY_STAY_FAILED, f"failed for good: {run.history[-1]}"
            return
        edit.right(seen[0], run)

    return play


#: Rows that wait for what somebody else has ended; that it has ended so is the truth.
MAY_STAY_FAILED = {
    "AdobeBatchSensor",
    "AdobeBatchSensor (deferrable)",
    "AdobeCompleteBatchOperator",
}

# ------------------------------------------------------------------------------------------------------------
# groups


def _put(world: World, group_id: int, **fields: Any) -> None:
    now = live(world)[group_id]
    body = {"name": now["name"], "description": now["description"], **fields}
    with adobe(world) as client:
        client.put(f"{GROUPS}{group_id}", json=body).raise_for_status()


def look_at(group_ids: Iterable[int], *, permissions: bool = False) -> Callable[[Any], bool]:
    """Whether a request shows the names of all groups or of one of these, or the permissions of one."""
    ids = list(group_ids)
    end = "/permissions" if permissions else ""
    places = {f"{GROUPS}{group_id}{end}" for group_id in ids} | (
        set() if permissions else {GROUPS, GROUPS[:-1]}
    )
    return lambda entry: entry.path in places


def look_with(text: str) -> Callable[[Any], bool]:
    return lambda entry: text in entry.path


def puts(group: str, **fields: Any) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        if facts["ids"][group] in live(world):
            _put(world, facts["ids"][group], **fields)

    return do


def grants(group: str, rows: list[dict[str, Any]]) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        if facts["ids"][group] in live(world):
            with adobe(world) as client:
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
            with adobe(world) as client:
                client.delete(f"{GROUPS}{facts['ids'][group]}").raise_for_status()

    return do


def creates(name: str) -> Callable[[World, Facts], dict[str, Any]]:
    def do(world: World, facts: Facts) -> dict[str, Any]:
        with adobe(world) as client:
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


# ------------------------------------------------------------------------------------------------------------
# batches and audiences


def acts_on_batches(action: str) -> Callable[[World, Facts], None]:
    def do(world: World, facts: Facts) -> None:
        for batch in batches(world):
            if batch["status"] == "loading":
                with adobe(world) as client:  # Adobe may refuse: a batch without files, say
                    client.post(f"{IMPORT}/{batch['id']}", params={"action": action})

    return do


def all_of_the_source(note: Edited, run: Run) -> None:
    """As without the edit; a batch that somebody else has ended holds nothing, or is not in the dataset."""
    try:
        exactly_the_source(note.world, [run])
    except AssertionError:
        held = {batch["id"]: batch["status"] for batch in batches(note.world)}
        mine = run.result["batch_id"]
        others = {status for batch_id, status in held.items() if batch_id != mine}
        assert held[mine] == "success", held
        assert others <= {"aborted", "failed", "inactive"}, held
        number = sum(1 for batch_id, _ in note.world.emulator.platform.rows("dataset-1") if batch_id == mine)
        assert number == 20 * run.facts.get("count", 2), f"green with {number} rows"


def create_audience(world: World, facts: Facts) -> None:
    with adobe(world) as client:
        client.post(
            "/data/core/ais/audiences?createAudienceMetaOnly=true",
            json={"name": "By hand", "namespace": "shop", "originName": "Shop", "audienceId": "buyers"},
            headers={"Accept": "application/vnd.adobe.external.audiences+json; version=2"},
        )


def rename_audience(world: World, facts: Facts) -> None:
    for audience in world.emulator.platform.audiences.snapshot():
        with adobe(world) as client:
            client.patch(
                f"/data/core/ups/audiences/{audience['id']}",
                json=[{"op": "add", "path": "/name", "value": "By hand"}],
            ).raise_for_status()


def one_buyers(note: Edited, run: Run) -> None:
    (audience,) = audiences(note.world)
    assert audience["audienceId"] == "buyers"
    assert run.result["id"] == audience["id"]
    if run.facts.get("if_exists") == "update":
        assert audience["name"] == "Frequent buyers" or note.after_the_last_look(look_with("/audiences")), (
            audience
        )


def something(note: Edited, run: Run) -> None:
    """Nothing is green: the rest is for the row's own check."""
    return


BATCH_EDITS = [
    Edit("aborts the batch", acts_on_batches("ABORT"), all_of_the_source),
    Edit("fails the batch", acts_on_batches("FAIL"), all_of_the_source),
    Edit("completes the batch", acts_on_batches("COMPLETE"), all_of_the_source),
]

# ------------------------------------------------------------------------------------------------------------
# Target


def press_the_button(world: World, facts: Facts) -> None:
    world.emulator.target.issue()


def store_is_right(note: Edited, run: Run) -> None:
    stored = (note.world.folder / "token").read_text()
    assert stored == note.world.emulator.target.token() or note.after_the_last_look(
        "/authentication/token"
    ), "green, and the store does not hold Target's token"


def rotate_elsewhere(world: World, facts: Facts) -> None:
    token = world.emulator.target.issue()
    token.expires = token.issued + 90 * DAY
    (world.folder / "token").write_text(token.value)


def change_a_setting(world: World, facts: Facts) -> None:
    world.emulator.target.settings["ipObfuscation"] = "ENTIRE_IP"


def setting_is_kept(note: Edited, run: Run) -> None:
    settings = note.world.emulator.target.settings
    assert settings[REQUIRED] is True
    assert settings["ipObfuscation"] == "ENTIRE_IP" or note.in_the_window(
        lambda entry: entry.write and "settings" in entry.path
    ), "the other's setting is lost"


def as_the_row_says(name: str) -> Callable[[Edited, Run], None]:
    def right(note: Edited, run: Run) -> None:
        from tests.faults.rows import find

        find(name).check(note.world, [run])

    return right


EDITS: dict[str, list[Edit]] = {
    "AdobeSyncGroupsOperator": of_a_sync(planned_before=False),
    "AdobeApplyGroupsPlanOperator": of_a_sync(planned_before=True),
    "AdobeUpdateGroupOperator": [
        OF_ONE_GROUP[name] for name in ("adds a wildcard", "joins a group", "changes permissions")
    ],
    "AdobeSetGroupPermissionsOperator": [
        OF_ONE_GROUP[name] for name in ("describes a group", "adds a wildcard", "joins a group")
    ],
    "AdobeCreateGroupOperator": [Edit("creates a declared group", creates("Analysts"), one_of_this_name)],
    "AdobeCreateAudienceMetadataOperator": [Edit("creates the audience", create_audience, one_buyers)],
    "AdobeCreateAudienceMetadataOperator (update)": [
        Edit(
            "renames the audience",
            rename_audience,
            one_buyers,
        )
    ],
    "AdobeIngestBatchOperator": BATCH_EDITS,
    "AdobeIngestBatchOperator (deferrable)": BATCH_EDITS,
    "AdobeIngestBatchOperator (in parts)": BATCH_EDITS,
    "AdobeRotateProfileTokenOperator": [Edit("presses the button", press_the_button, store_is_right)],
    "AdobeRotateProfileTokenOperator (adopt)": [Edit("presses the button", press_the_button, store_is_right)],
    "AdobeSetProfileAuthenticationOperator": [
        Edit("changes another setting", change_a_setting, setting_is_kept)
    ],
    **{
        name: [Edit("rotates the token", rotate_elsewhere, as_the_row_says(name))]
        for name in (
            "AdobeBulkProfileUpdateOperator",
            "AdobeBulkProfileUpdateOperator (deferrable)",
            "AdobeBulkProfileUpdateSensor",
            "AdobeBulkProfileUpdateSensor (deferrable)",
        )
    },
}


#: Rows that no other editor can disturb, or whose task that is not.
NOT_EDITED: dict[str, str] = {
    **dict.fromkeys(
        (
            "AdobeListGroupsOperator",
            "AdobeGetGroupOperator",
            "AdobeListGroupPermissionsOperator",
            "AdobeSyncGroupsOperator (check)",
            "AdobePlanGroupsOperator",
            "AdobeDownloadFailedRowsOperator",
        ),
        "reads: it tells what was there when it looked",
    ),
    **dict.fromkeys(
        ("AdobeDeleteGroupOperator", "AdobeBulkDeleteGroupsOperator"),
        "the group is named by its id, and asked to be gone whatever it is",
    ),
    "AdobeCreateAudienceMetadataOperator (Adobe makes the id)": "nobody else knows the id",
    **dict.fromkeys(
        (
            "AdobeCreateBatchOperator",
            "AdobeUploadBatchFilesOperator",
            "AdobeCompleteBatchOperator",
            "AdobeAbortBatchOperator",
            "AdobeBatchSensor",
            "AdobeBatchSensor (deferrable)",
        ),
        "a step of a Dag: the Dag as a whole is tried, with a batch that somebody else aborts",
    ),
}


def rows_with(name: str, edits: Iterable[tuple[str, list[Edit]]]) -> dict[str, Edit]:
    return {row: edit for row, many in edits for edit in many if edit.name == name}


def _by_row(edits: dict[str, Edit]) -> Play:
    return lambda case: edited(edits[case.row.name])(case)


for _name in dict.fromkeys(edit.name for many in EDITS.values() for edit in many):
    _edits = rows_with(_name, EDITS.items())
    act(f"somebody else {_name}", "other editors", _by_row(_edits), at_every_moment, frozenset(_edits))
