# SPDX-License-Identifier: Apache-2.0
"""What groups a task shall make true: a file, or the value itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.errors import DesiredStateError

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.groups.spec import DesiredState

Desired = str | Mapping[str, Any]


def load_desired(desired: Desired, allowed_sources: Sequence[str] | None = None) -> DesiredState:
    """Return the declared groups from a path, a URL or a value.

    :param desired: which.
    :param allowed_sources: folders that a path may lie in; none: any.
    :raises DesiredStateError: when it cannot be used.
    :raises AdobeConfigurationError: when it is a path outside of ``allowed_sources``.
    """
    from airflow_provider_adobe_audiences.groups.document import refuse_special_file
    from airflow_provider_adobe_audiences.groups.spec import load_file, load_value

    if isinstance(desired, Mapping):
        return load_value(desired)
    if not isinstance(desired, str) or not desired.strip():
        raise DesiredStateError(
            f"desired must be a path, a URL, or a mapping with the key 'groups', not {desired!r:.80}"
        )
    if desired.lstrip()[:1] in ("{", "[") or "\n" in desired:
        raise DesiredStateError(
            "desired is a text with the groups in it, where a path or a mapping is expected",
            hint="Let the upstream task parse it (json.loads, yaml.safe_load) and return the mapping, and "
            "pass desired=upstream.output. A template turns a mapping into text unless its Dag has "
            "render_template_as_native_obj=True.",
        )
    from airflow_provider_adobe_audiences.tasks.paths import check_allowed, is_local, storage_path

    path = storage_path(desired, "desired", is_opened=False)
    check_allowed(path, path.path, allowed_sources, "desired")
    if is_local(path):
        refuse_special_file(path.path, desired)
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        why = {FileNotFoundError: "it does not exist", IsADirectoryError: "it is a folder"}.get(
            type(error), "access is denied"
        )
        raise DesiredStateError(f"{desired} cannot be read: {why}") from None
    except (ImportError, ValueError) as error:
        # A scheme that no installed provider knows.
        raise DesiredStateError(
            f"{desired} cannot be read: {error}", hint="Install the provider of that storage."
        ) from None
    with file:
        return load_file(file, desired)
