# SPDX-License-Identifier: Apache-2.0
"""What should be true: the declared groups, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from airflow_provider_adobe_audiences.adobe.audience_manager import (
    OBJECT_PERMISSIONS,
    WILDCARDS,
    Permission,
    checked_name,
)
from airflow_provider_adobe_audiences.errors import DesiredStateError
from airflow_provider_adobe_audiences.groups.document import Document, Path, read, shortened
from airflow_provider_adobe_audiences.groups.names import (
    SAME_PERMISSION,
    canonical_name,
    canonical_permissions,
    look_alike,
)
from airflow_provider_adobe_audiences.text import meant

_MAX_PROBLEMS = 20
_WILDCARD_FAMILIES = {token: family for family, tokens in WILDCARDS.items() for token in tokens}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=False)


def _name(value: str) -> str:
    if not canonical_name(value):
        raise ValueError("is blank")
    return checked_name(value)


def _wildcard(token: str) -> str:
    if any(token in tokens for tokens in OBJECT_PERMISSIONS.values()):
        raise ValueError(
            f"{token} is a permission on one object, not a wildcard: write it below 'permissions' with "
            "objectType and objectId"
        )
    # Old groups still have tokens that Adobe no longer lists, so an unknown one is no error unless it looks
    # like a slip.
    if token not in _WILDCARD_FAMILIES and (close := meant(token, _WILDCARD_FAMILIES)):
        raise ValueError(f"{token} is not a wildcard of Audience Manager{close}")
    return token


Name = Annotated[StrictStr, AfterValidator(_name)]
Id = Annotated[StrictInt, Field(gt=0)]


class PermissionRow(_Model):
    """What the group may do with one object."""

    object_type: Annotated[
        str,
        Field(description="what objectId is: a data source (SEGMENT, TRAIT) or a destination (DESTINATION)"),
    ]
    object_id: Annotated[
        Id,
        Field(description="data source id for SEGMENT and TRAIT (not a sid), destination id for DESTINATION"),
    ]
    #: Such as ``READ``. The docstring is a text of the JSON schema, so this stands here.
    permissions: Annotated[tuple[StrictStr, ...], Field(min_length=1)]

    @field_validator("object_type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if value in OBJECT_PERMISSIONS:
            return value
        if value in WILDCARDS:
            raise ValueError(
                f"{value} has no permissions on single objects, only wildcards "
                f"({', '.join(WILDCARDS[value])})"
            )
        raise ValueError(
            f"{value!r} is not one of "
            f"{', '.join(OBJECT_PERMISSIONS)}{meant(value.upper(), OBJECT_PERMISSIONS)}"
        )

    @model_validator(mode="after")
    def _known_permissions(self) -> PermissionRow:
        known = OBJECT_PERMISSIONS[self.object_type]
        for token in self.permissions:
            if token in known or (self.object_type, token) in SAME_PERMISSION:
                continue
            if token in _WILDCARD_FAMILIES:
                raise ValueError(
                    f"{token} is a wildcard of the whole group, not a permission on one object: write it "
                    "below 'wildcards' "
                    "(they are compared and reported, Adobe documents no way to set them)"
                )
            raise ValueError(
                f"{token!r} is not a permission on a {self.object_type}: "
                f"{', '.join(known)}{meant(token.upper(), known)}"
            )
        return self

    @property
    def row(self) -> Permission:
        """The row as Adobe has it."""
        return Permission(self.object_type, self.object_id, self.permissions)


class DesiredGroup(_Model):
    """One group. What is left out is not managed."""

    name: Annotated[Name, Field(description="name of the group; groups are matched by it")]
    previously: Annotated[
        tuple[Name, ...], Field(description="former names: a group that still has one of them is renamed")
    ] = ()
    group_id: Annotated[
        Id | None, Field(description="pins the group that is meant, whatever its name is now")
    ] = None
    description: Annotated[
        StrictStr | None, Field(description="left out: not managed; null: no description")
    ] = None
    permissions: Annotated[
        tuple[PermissionRow, ...] | None,
        Field(description="all permissions of the group; left out: not managed; []: none at all"),
    ] = None
    wildcards: Annotated[
        tuple[Annotated[StrictStr, AfterValidator(_wildcard)], ...] | None,
        Field(description="compared and reported, never changed"),
    ] = None
    users: Annotated[
        tuple[Id, ...] | None,
        Field(description="user ids of the members; compared and reported, never changed"),
    ] = None

    @field_validator("permissions", "wildcards", "users", "group_id", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError(
                "null", "has no value: leave the key out (not managed), or write [] for none at all"
            )
        return value

    @property
    def manages_description(self) -> bool:
        """Whether the description is declared, be it as none."""
        return "description" in self.model_fields_set

    @property
    def rows(self) -> tuple[Permission, ...] | None:
        """The permissions in canonical form; ``None`` when they are not managed."""
        return (
            None if self.permissions is None else canonical_permissions(row.row for row in self.permissions)
        )


class DesiredState(_Model):
    """Groups of Audience Manager as they should be."""

    #: The declared groups.
    groups: tuple[DesiredGroup, ...]


def load(source: Document) -> DesiredState:
    """Check a document and return the declared groups.

    :param source: the document.
    :returns: the declared groups.
    :raises DesiredStateError: listing what is wrong, each with its line and the rule that it breaks.
    """
    _check_shape(source)
    try:
        desired = DesiredState.model_validate(source.value)
    except ValidationError as error:
        found = [(tuple(problem["loc"]), _explain(problem)) for problem in error.errors(include_url=False)]
    else:
        found = list(_repeated(desired))
        if not found:
            return desired
    problems = [f"{source.where(path)}: {_dotted(path)}{message}" for path, message in found]
    shown = problems[:_MAX_PROBLEMS] + (
        [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
    )
    raise DesiredStateError(
        "\n".join(["the desired groups cannot be used:", *(f"  {problem}" for problem in shown)])
    )


def _check_shape(source: Document) -> None:
    """Refuse what is no list of groups at all, without repeating any of it: it may be any file that the
    worker can read.
    """
    value = source.value
    if isinstance(value, Mapping) and "groups" in value:
        return
    wrong = "" if isinstance(value, Mapping) else f"must be a mapping, not {type(value).__name__}: "
    raise DesiredStateError(
        f"{source.where(())}: {wrong}groups are declared below the key 'groups', which is missing"
    )


def load_permissions(rows: Any, source: str = "permissions") -> tuple[Permission, ...]:
    """Check rows of permissions that are already in memory, and return them in canonical form.

    :param rows: ``objectType``, ``objectId`` and ``permissions`` of each.
    :param source: the argument, for messages.
    :returns: the rows.
    :raises DesiredStateError: listing what is wrong.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise DesiredStateError(f"{source} should be a list of rows, not {type(rows).__name__}")
    desired = load(Document({"groups": [{"name": "group", "permissions": list(rows)}]}, source))
    return desired.groups[0].rows or ()


def load_file(file: IO[bytes], source: str) -> DesiredState:
    """Read and check an open file of YAML or JSON.

    :param file: at its first byte.
    :param source: where it is, for messages.
    :returns: the declared groups.
    """
    return load(read(file, source))


def load_value(value: Any, source: str = "desired") -> DesiredState:
    """Check a value that is already in memory, such as the result of an upstream task.

    :param value: a mapping with the key ``groups``.
    :param source: the argument, for messages.
    :returns: the declared groups.
    :raises DesiredStateError: listing what is wrong.
    """
    if not isinstance(value, Mapping):
        raise DesiredStateError(
            f"{source} should be a mapping with the key 'groups', not {type(value).__name__}"
        )
    return load(Document(dict(value), source))


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{text}: " if text else ""


def _explain(problem: Mapping[str, Any]) -> str:
    given, kind, name = problem["input"], problem["type"], problem["loc"][-1] if problem["loc"] else ""
    match kind:
        case "extra_forbidden":
            # ("key",), ("groups", 0, "key") or ("groups", 0, "permissions", 0, "key")
            return f"the key is not known{meant(str(name), _KEYS[min(len(problem['loc']) // 2, 2)])}"
        case "missing":
            return "is missing"
        case "int_type" if isinstance(given, str) and re.fullmatch("[0-9]{1,20}", given.strip()):
            number = given.strip()
            if number == str(int(number)):
                return f"must be a number: write {number} without quotes"
            return f"must be a number: write {int(number)}, without leading zeros, not the text {number!r}"
        case "int_type" | "int_from_float":
            return f"must be a whole number, not {shortened(repr(given))}"
        case "string_type" if given is None:
            return "must be text: it has no value (YAML reads null and ~ as none; write them in quotes)"
        case "string_type" if isinstance(given, bool | int | float):
            return f"must be text: write it in quotes (YAML reads it as {type(given).__name__} {given!r})"
        case "tuple_type":
            return f"must be a list, not {type(given).__name__}"
        case "model_type" | "model_attributes_type":
            return f"must be a mapping, not {type(given).__name__}"
        case "too_short":
            return "is an empty list: name at least one permission, or remove the row"
    return re.sub("^Value error, ", "", problem["msg"])


_KEYS = [
    [to_camel(name) for name in model.model_fields] for model in (DesiredState, DesiredGroup, PermissionRow)
]


@dataclass(frozen=True, slots=True)
class _Claim:
    """A name that a group has, or had."""

    number: int
    path: Path
    name: str
    former: bool


def _repeated(desired: DesiredState) -> Iterator[tuple[Path, str]]:
    """Find names and ids that are claimed twice; it would be left to chance which group they mean."""
    claims: dict[str, list[_Claim]] = {}
    ids: dict[int, int] = {}
    for number, group in enumerate(desired.groups):
        here: Path = ("groups", number)
        new = [_Claim(number, (*here, "name"), group.name, False)]
        new += [
            _Claim(number, (*here, "previously", index), name, True)
            for index, name in enumerate(group.previously)
        ]
        for claim in new:
            earlier = claims.setdefault(look_alike(claim.name), [])
            for other in earlier:
                if not _handed_on(desired, other, claim):
                    yield claim.path, _claimed_twice(other, claim)
                    break
            earlier.append(claim)
        if group.group_id is not None and (first := ids.setdefault(group.group_id, number)) != number:
            yield (*here, "groupId"), f"{group.group_id} is already the groupId of groups[{first}]"
    yield from _circles(desired)


def _claimed_twice(first: _Claim, second: _Claim) -> str:
    by = "by the same group" if first.number == second.number else f"by {_dotted(first.path).rstrip(': ')}"
    how = (
        f"is already used {by}"
        if canonical_name(first.name) == canonical_name(second.name)
        else f"cannot be told from {first.name!r}, which is used {by}"
    )
    return f"the name {second.name!r} {how}; each name, also a former one, may be written once"


def _handed_on(desired: DesiredState, first: _Claim, second: _Claim) -> bool:
    """Return whether one group takes over a name from another, which can be found without it."""
    is_same_name = canonical_name(first.name) == canonical_name(second.name)
    if first.number == second.number or first.former == second.former or not is_same_name:
        return False
    now, before = (
        desired.groups[claim.number] for claim in sorted((first, second), key=lambda claim: claim.former)
    )
    return bool(now.previously) or now.group_id is not None or before.group_id is not None


def _circles(desired: DesiredState) -> Iterator[tuple[Path, str]]:
    """Find names that are exchanged without a ``groupId``: the names alone are the same before and after."""
    owners = {canonical_name(group.name): number for number, group in enumerate(desired.groups)}
    for number, group in enumerate(desired.groups):
        seen: set[int] = set()
        waiting = [number]
        while waiting:
            one = desired.groups[waiting.pop()]
            if one.group_id is not None:
                continue
            for former in one.previously:
                other = owners.get(canonical_name(former))
                if other == number and one is not group:
                    yield (
                        ("groups", number, "previously"),
                        f"{group.name!r} and {one.name!r} exchange their names: pin them with groupId, or "
                        "nobody can tell whether that has happened",
                    )
                elif other is not None and other not in seen:
                    seen.add(other)
                    waiting.append(other)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a desired state, for editors."""
    schema = DesiredState.model_json_schema(by_alias=True)
    row = schema["$defs"]["PermissionRow"]
    row["properties"]["objectType"]["enum"] = sorted(OBJECT_PERMISSIONS)
    everything = sorted({token for tokens in OBJECT_PERMISSIONS.values() for token in tokens})
    row["properties"]["permissions"]["items"]["enum"] = everything
    row["allOf"] = [
        {
            "if": {"properties": {"objectType": {"const": kind}}, "required": ["objectType"]},
            "then": {"properties": {"permissions": {"items": {"enum": list(tokens)}}}},
        }
        for kind, tokens in OBJECT_PERMISSIONS.items()
    ]
    group = schema["$defs"]["DesiredGroup"]["properties"]
    for key in ("permissions", "wildcards", "users", "groupId"):
        chosen = next(choice for choice in group[key].pop("anyOf") if choice.get("type") != "null")
        group[key] = {name: value for name, value in group[key].items() if name != "default"} | chosen
    group["wildcards"]["items"]["examples"] = sorted(_WILDCARD_FAMILIES)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
