# SPDX-License-Identifier: Apache-2.0
"""The parameters of the guards: names, defaults, rules and words, for operators and command line alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Limits:
    """How much a plan may take away. A grant is one permission on one object.

    :param max_deletes: most groups that may be deleted.
    :param max_delete_ratio: largest share (0 to 1) of the live groups that are declared or in the managed
        scope that may be deleted.
    :param max_permission_removal_ratio: largest share (0 to 1) of the live grants of groups with declared
        permissions that may be removed.
    :param allow_empty: whether a group may lose all its permissions (``permissions: []``).
    :param allow_empty_desired: whether pruning may run although no group is declared at all.
    :param allow_non_empty_delete: whether groups with members may be deleted.
    :param require_self: whether groups that the calling user is in are spared from deletion and from loss of
        permissions.
    :param protected: names of groups that may not be changed.
    :raises ValidationError: naming each field that is wrong. Nothing is guessed: text is no bool.
    """

    max_deletes: Annotated[int, Field(ge=0, description="most groups that may be deleted")] = 5
    max_delete_ratio: Annotated[
        float, Field(ge=0, le=1, description="largest share of the managed groups that may be deleted")
    ] = 0.25
    max_permission_removal_ratio: Annotated[
        float, Field(ge=0, le=1, description="largest share of the declared groups' grants that may go")
    ] = 0.25
    allow_empty: Annotated[bool, Field(description="a group may lose all permissions")] = False
    allow_empty_desired: Annotated[
        bool, Field(description="pruning may run although nothing is declared")
    ] = False
    allow_non_empty_delete: Annotated[bool, Field(description="groups with members may be deleted")] = False
    require_self: Annotated[
        bool, Field(description="the caller's own groups may be deleted or lose permissions")
    ] = True
    protected: Sequence[str] = ()
