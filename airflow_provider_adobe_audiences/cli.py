# SPDX-License-Identifier: Apache-2.0
"""The command ``adobe-audiences``: group files on a laptop and in CI, with the same code that the operators
run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_adobe_audiences.adobe.audience_manager import Group
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, DesiredStateError
from airflow_provider_adobe_audiences.groups import apply as run
from airflow_provider_adobe_audiences.groups.export import export
from airflow_provider_adobe_audiences.groups.guards import Limits, check
from airflow_provider_adobe_audiences.groups.plan import Scope, name_pattern
from airflow_provider_adobe_audiences.groups.report import markdown, report, table
from airflow_provider_adobe_audiences.groups.spec import DesiredState, canonical_name, json_schema, load_file

ENVIRONMENT_PREFIX = "ADOBE_"
NO_CHANGES, FAILED, CHANGES = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except (AdobeError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adobe-audiences", description="Tools for Adobe audiences in Apache Airflow."
    )
    groups = parser.add_subparsers(required=True).add_parser(
        "groups", help="groups of Adobe Audience Manager"
    )
    commands = groups.add_subparsers(required=True, metavar="export|validate|plan|schema")

    command = _command(
        commands,
        "export",
        _export,
        "write the live groups as a file to start from; planning with it changes nothing",
    )
    _connection(command)
    command.add_argument("--output", type=Path, help="file to write; standard output without it")
    command.add_argument(
        "--names", metavar="REGEX", default=".*", help="only groups whose whole name matches"
    )

    command = _command(
        commands,
        "validate",
        _validate,
        "check a file without any connection; exit code 1 if it cannot be used",
    )
    command.add_argument("file", type=Path)

    command = _command(
        commands,
        "plan",
        _plan,
        f"show what would be changed; exit code {NO_CHANGES}: nothing, {CHANGES}: something, {FAILED}: error "
        "or guard",
    )
    _connection(command)
    command.add_argument("file", type=Path)
    command.add_argument("--format", choices=("table", "markdown", "json"), default="table")
    command.add_argument(
        "--prune", action="store_true", help="delete groups of the managed scope that are not declared"
    )
    command.add_argument(
        "--managed-groups", metavar="REGEX", help="the managed scope: names that match as a whole"
    )
    command.add_argument(
        "--protected",
        metavar="NAME",
        action="append",
        default=[],
        help="never changed or deleted; may be repeated",
    )
    command.add_argument("--max-deletes", type=int, default=Limits().max_deletes)
    command.add_argument("--max-delete-ratio", type=float, default=Limits().max_delete_ratio)
    command.add_argument(
        "--max-permission-removal-ratio", type=float, default=Limits().max_permission_removal_ratio
    )
    command.add_argument("--allow-empty", action="store_true", help="a group may lose all permissions")
    command.add_argument(
        "--allow-empty-desired", action="store_true", help="pruning may run although nothing is declared"
    )
    command.add_argument(
        "--allow-non-empty-delete", action="store_true", help="groups with members may be deleted"
    )
    command.add_argument(
        "--no-require-self",
        action="store_true",
        help="the caller's own groups may be deleted or lose permissions",
    )

    _command(commands, "schema", _schema, "print the JSON Schema of the file, for editors")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: object,
    description: str,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=description, description=description)
    command.set_defaults(run=run)
    return command


def _connection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--conn-id",
        help=f"Airflow connection to use; without it the fields come "
        f"from the environment: {ENVIRONMENT_PREFIX}CLIENT_ID, "
        f"{ENVIRONMENT_PREFIX}CLIENT_SECRET, {ENVIRONMENT_PREFIX}ORG_ID, "
        f"{ENVIRONMENT_PREFIX}AUDIENCE_MANAGER_URL, ...",
    )
    command.add_argument(
        "--concurrency",
        type=int,
        default=run.DEFAULT_CONCURRENCY,
        help="most reads under way at the same time",
    )


def settings_of(conn_id: str | None) -> AdobeSettings:
    """Return the settings of an Airflow connection, or those that the environment holds.

    :raises AdobeConfigurationError: naming what is wrong.
    """
    if conn_id is not None:
        from airflow.providers.common.compat.sdk import AirflowException

        from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

        try:
            return AdobeHook(conn_id).settings
        except AirflowException as error:
            raise AdobeConfigurationError(
                f"there is no Airflow connection {conn_id!r}: {error}",
                hint=f"Define it, for example in the environment as AIRFLOW_CONN_{conn_id.upper()}.",
            ) from None
    names = {f"{ENVIRONMENT_PREFIX}{name.upper()}": name for name in AdobeSettings.model_fields}
    fields = {name: os.environ[variable] for variable, name in names.items() if os.environ.get(variable)}
    if not fields:
        raise AdobeConfigurationError(
            "no connection was named",
            hint=f"Pass --conn-id with an Airflow connection, "
            f"or set {ENVIRONMENT_PREFIX}CLIENT_ID, {ENVIRONMENT_PREFIX}CLIENT_SECRET and "
            f"{ENVIRONMENT_PREFIX}ORG_ID.",
        )
    return AdobeSettings.of(fields, f"the environment ({ENVIRONMENT_PREFIX}...)")


def _load(path: Path) -> DesiredState:
    try:
        with path.open("rb") as file:
            return load_file(file, str(path))
    except OSError as error:
        raise DesiredStateError(f"{path} cannot be read: {error.strerror}") from None


def _export(parsed: argparse.Namespace) -> int:
    pattern = name_pattern(parsed.names, "--names")

    def chosen(group: Group) -> bool:
        return bool(pattern.fullmatch(canonical_name(group.name)))

    from airflow_provider_adobe_audiences.adobe.client.transport import AdobeSession

    with AdobeSession(settings_of(parsed.conn_id)) as session:
        live = run.read_all(session.send, concurrency=parsed.concurrency, chosen=chosen)
    text = export(live, [group.group_id for group in live.groups if chosen(group)])
    if parsed.output is None:
        sys.stdout.write(text)
    else:
        try:
            parsed.output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise AdobeConfigurationError(
                f"{parsed.output} cannot be written: {error.strerror}",
                hint="Name a file in a folder that exists and that you may write to.",
            ) from None
    return NO_CHANGES


def _validate(parsed: argparse.Namespace) -> int:
    desired = _load(parsed.file)
    sys.stdout.write(f"{parsed.file}: {len(desired.groups)} groups, nothing wrong\n")
    return NO_CHANGES


def _plan(parsed: argparse.Namespace) -> int:
    scope = Scope(prune=parsed.prune, managed=parsed.managed_groups, protected=parsed.protected)
    limits = Limits(
        max_deletes=parsed.max_deletes,
        max_delete_ratio=parsed.max_delete_ratio,
        max_permission_removal_ratio=parsed.max_permission_removal_ratio,
        allow_empty=parsed.allow_empty,
        allow_empty_desired=parsed.allow_empty_desired,
        allow_non_empty_delete=parsed.allow_non_empty_delete,
        require_self=not parsed.no_require_self,
        protected=parsed.protected,
    )
    desired = _load(parsed.file)
    settings = settings_of(parsed.conn_id)
    from airflow_provider_adobe_audiences.adobe.client.transport import AdobeSession

    with AdobeSession(settings) as session:
        plan, _ = run.plan(
            session.send,
            desired,
            target=settings.base_url(Service.AUDIENCE_MANAGER),
            scope=scope,
            limits=limits,
            concurrency=parsed.concurrency,
        )
    match parsed.format:
        case "json":
            shown = json.dumps(report(plan, mode="plan"), indent=2, ensure_ascii=False)
        case "markdown":
            shown = markdown(plan)
        case _:
            shown = table(plan)
    sys.stdout.write(f"{shown}\n")
    check(plan)
    return CHANGES if plan.changes else NO_CHANGES


def _schema(parsed: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return NO_CHANGES


if __name__ == "__main__":
    sys.exit(main())
