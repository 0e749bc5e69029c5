# SPDX-License-Identifier: Apache-2.0
"""Which edits of somebody else each row is tried with, at every request of its task."""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults.acts import act, at_every_moment
from tests.faults.cases import Play
from tests.faults.edits import Edit, edited
from tests.faults.edits_audience_manager import OF_ONE_GROUP, creates, of_a_sync, one_of_this_name
from tests.faults.edits_experience_platform import BATCH_EDITS, create_audience, one_buyers, rename_audience
from tests.faults.edits_target import (
    as_the_row_says,
    change_a_setting,
    press_the_button,
    rotate_elsewhere,
    setting_is_kept,
    store_is_right,
)

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
