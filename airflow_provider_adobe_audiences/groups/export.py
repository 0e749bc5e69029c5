# SPDX-License-Identifier: Apache-2.0
"""Writes the live state as a starting file. Planning with it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from airflow_provider_adobe_audiences.adobe.audience_manager import Group, Permission
from airflow_provider_adobe_audiences.errors import DesiredStateError
from airflow_provider_adobe_audiences.groups.live import Live
from airflow_provider_adobe_audiences.groups.names import canonical_name
from airflow_provider_adobe_audiences.groups.spec import load_permissions, load_value


def export(live: Live, group_ids: Iterable[int] | None = None) -> str:
    """Return groups as YAML of the kind that :func:`~.spec.load` reads.

    What cannot be declared is left out with a comment, and stays unmanaged: groups that share a name,
    permissions that could not be read, and permissions or wildcards that this package does not know.

    :param live: groups, and the permissions of those to write, where they could be read.
    :param group_ids: which groups; all of them without it.
    """
    chosen = set(live.by_id if group_ids is None else group_ids)
    blocks: list[str] = []
    for _, groups in sorted(live.by_look.items()):
        name = groups[0].name.strip()
        if not chosen & {group.group_id for group in groups}:
            continue
        problem = _problem(name, groups)
        if problem:
            ids = ", ".join(str(group.group_id) for group in groups)
            blocks.append(f"  # left out: {_quoted(name)} (groupId {ids}): {problem}\n")
        else:
            blocks.append(
                "".join(
                    f"{line}\n" for line in _lines(name, groups[0], live.permissions.get(groups[0].group_id))
                )
            )
    if not any(not block.startswith("  #") for block in blocks):
        return "".join(["groups: []\n", *blocks])
    return "groups:\n" + "".join(blocks)


def _problem(name: str, groups: Sequence[Group]) -> str | None:
    if len(groups) > 1:
        same = len({canonical_name(group.name) for group in groups}) == 1
        return "several groups have this name" if same else "several groups have names that look like this"
    try:
        load_value({"groups": [{"name": name}]})
    except DesiredStateError:
        return "the name is blank or holds characters that cannot be seen"
    return None


def _lines(name: str, group: Group, permissions: tuple[Permission, ...] | None) -> Iterator[str]:
    yield f"  - name: {_quoted(name)}"
    yield f"    description: {_quoted((group.description or '').strip() or None)}"
    if permissions is None:
        yield "    # permissions are left out: the calling user cannot access them"
    else:
        try:
            load_permissions([row.as_json() for row in permissions])
        except DesiredStateError:
            yield "    # permissions are left out: some are not known to this package"
        else:
            yield "    permissions:" + ("" if permissions else " []")
            for row in permissions:
                tokens = ", ".join(row.permissions)
                what = f"objectType: {row.object_type}, objectId: {row.object_id}"
                yield f"      - {{{what}, permissions: [{tokens}]}}"
    try:
        load_value({"groups": [{"name": "group", "wildcards": list(group.wildcards)}]})
    except DesiredStateError:
        yield "    # wildcards are left out: some are not known to this package"
    else:
        yield f"    wildcards: [{', '.join(_quoted(token) for token in sorted(group.wildcards))}]"


def _quoted(text: str | None) -> str:
    import yaml

    return (
        "null"
        if text is None
        else str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1_000_000)).strip()
    )
