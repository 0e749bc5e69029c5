# SPDX-License-Identifier: Apache-2.0
"""What somebody else does to the profile token and the settings of Target meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.edits import Edited
from tests.faults.harness import Run, World
from tests.faults.rows import Facts
from tests.faults.rows_target import DAY, REQUIRED


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
