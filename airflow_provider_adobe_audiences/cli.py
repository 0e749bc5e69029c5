# SPDX-License-Identifier: Apache-2.0
"""The command ``adobe-audiences``: group files on a laptop and in CI, with the same code that the operators
run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from airflow_provider_adobe_audiences.adobe.client.parallel import DEFAULT_CONCURRENCY
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, DesiredStateError
from airflow_provider_adobe_audiences.groups.limits import Limits
from airflow_provider_adobe_audiences.text import counted, meant

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.audience_manager import Group
    from airflow_provider_adobe_audiences.groups.spec import DesiredState

ENVIRONMENT_PREFIX = "ADOBE_"
NO_CHANGES, FAILED, CHANGES = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """Ends with :data:`FAILED` where argparse would say 2, which here means that a plan has changes."""

    def error(self, message: str) -> NoReturn:
        """Tell how the command is used, and end.

        :param message: what is wrong.
        """
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the process without it.
    :returns: the exit code.
    """
    parsed = _parser().parse_args(arguments)
    parsed.output_stream = sys.stdout
    # Whatever else speaks up, such as Airflow's log, must not mix with what was asked for.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            code: int = parsed.run(parsed)
            return code
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                name = _option(str(problem["loc"][0]))
                sys.stderr.write(f"option {name} is {problem['input']!r}: {problem['msg']}\n")
        except (AdobeError, ValueError, OSError) as error:
            sys.stderr.write(f"{_in_options(str(error))}\n")
    return FAILED


def _in_options(text: str) -> str:
    """Return a message that names parameters of an operator in the words of the command line."""
    # There is no Dag here.
    text = re.sub(
        "a list, or nothing, that became text: .* on the Dag",
        "should be a regular expression, or left out",
        text,
    )
    text = re.sub(r"argument '(\w+)'", lambda found: f"option {_option(found[1])}", text)
    return re.sub(
        r"allowed by (\w+)=([^\s)]*)", lambda found: f"allowed by {_allowing(*found.groups())}", text
    )


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def _allowing(parameter: str, value: str) -> str:
    match parameter, value:
        case _, "True":
            return _option(parameter)
        case "require_self", _:
            return "--no-require-self"
        case "prune", _:
            return f"leaving out {_option(parameter)}"
        case "protected", _:
            return _option(parameter)
    return f"{_option(parameter)} {value}"


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="adobe-audiences", description="Tools for Adobe audiences in Apache Airflow."
    )
    groups = parser.add_subparsers(required=True).add_parser(
        "groups", help="groups of Adobe Audience Manager"
    )
    commands = groups.add_subparsers(required=True, metavar="export|validate|plan|duplicates|schema")

    help_text = "write the live groups as a file to start from; planning with it changes nothing"
    command = _command(commands, "export", _export, help_text)
    _connection(command)
    command.add_argument("--output", type=Path, help="file to write; standard output without it")
    command.add_argument(
        "--names", metavar="REGEX", default=".*", help="only groups whose whole name matches"
    )

    help_text = "check a file without any connection; exit code 1 if it cannot be used"
    command = _command(commands, "validate", _validate, help_text)
    command.add_argument("file", type=Path)

    _plan_options(commands)

    help_text = "show groups that share a name or look as if they did, and which of them are empty"
    command = _command(commands, "duplicates", _duplicates, help_text)
    _connection(command)
    command.add_argument(
        "--remove-empty",
        action="store_true",
        help="delete those that have neither members, permissions nor wildcards, but for one of each name",
    )

    _command(commands, "schema", _schema, "print the JSON Schema of the file, for editors")
    return parser


def _plan_options(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help_text = (
        f"show what would change; exit code {NO_CHANGES}: nothing, {CHANGES}: something, {FAILED}: error, "
        "guard or wrong usage"
    )
    command = _command(commands, "plan", _plan, help_text)
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
        help="whole name of a group that is never changed or deleted; may be repeated",
    )
    for name, field in Limits.__pydantic_fields__.items():  # type: ignore[attr-defined]
        if name == "protected":
            continue
        given: dict[str, Any] = {"dest": name, "default": field.default, "help": field.description}
        if field.annotation is not bool:
            command.add_argument(_option(name), type=field.annotation, **given)
        elif field.default:
            command.add_argument(f"--no-{_option(name)[2:]}", action="store_false", **given)
        else:
            command.add_argument(_option(name), action="store_true", **given)


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
        choices=range(1, 65),
        metavar="1..64",
        default=DEFAULT_CONCURRENCY,
        help="most requests under way at the same time",
    )


def settings_of(conn_id: str | None) -> AdobeSettings:
    """Return the settings of an Airflow connection, or those that the environment holds.

    :param conn_id: the connection; the environment without it.
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
    _refuse_misspelt(names)
    fields = {name: os.environ[variable] for variable, name in names.items() if os.environ.get(variable)}
    if not fields:
        raise AdobeConfigurationError(
            "no connection was named",
            hint=f"Pass --conn-id with an Airflow connection, "
            f"or set {ENVIRONMENT_PREFIX}CLIENT_ID, {ENVIRONMENT_PREFIX}CLIENT_SECRET and "
            f"{ENVIRONMENT_PREFIX}ORG_ID.",
        )
    return AdobeSettings.of(fields, f"the environment ({ENVIRONMENT_PREFIX}...)")


def _refuse_misspelt(known: Iterable[str]) -> None:
    """Raise when the environment has a variable whose name is nearly that of a field."""
    for name in sorted(set(os.environ) - set(known)):
        if name.startswith(ENVIRONMENT_PREFIX) and (close := meant(name, known, 0.9)):
            raise AdobeConfigurationError(
                f"the environment variable {name} is no field of the connection{close}",
                hint="Rename it, or unset it: the default of that field would be used unnoticed.",
            )


def _load(path: Path) -> DesiredState:
    from airflow_provider_adobe_audiences.groups.document import refuse_special_file
    from airflow_provider_adobe_audiences.groups.spec import load_file

    refuse_special_file(str(path), str(path), of_shell=True)
    try:
        with path.open("rb") as file:
            return load_file(file, str(path))
    except OSError as error:
        raise DesiredStateError(f"{path} cannot be read: {error.strerror}") from None


def _write(parsed: argparse.Namespace, text: str) -> None:
    parsed.output_stream.write(text)


def _export(parsed: argparse.Namespace) -> int:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.groups import sync
    from airflow_provider_adobe_audiences.groups.export import export
    from airflow_provider_adobe_audiences.groups.live import name_pattern
    from airflow_provider_adobe_audiences.groups.names import canonical_name

    pattern = name_pattern(parsed.names, "names")

    def chosen(group: Group) -> bool:
        return bool(pattern.fullmatch(canonical_name(group.name)))

    with AdobeSession(settings_of(parsed.conn_id)) as session:
        live = sync.read_all(session.send, concurrency=parsed.concurrency, chosen=chosen)
    found = [group.group_id for group in live.groups if chosen(group)]
    if live.groups and not found:
        sys.stderr.write(f"no group has a name that matches {parsed.names!r} as a whole\n")
    text = export(live, found)
    if parsed.output is None:
        _write(parsed, text)
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
    _write(parsed, f"{parsed.file}: {counted(len(desired.groups), 'group')}, nothing wrong\n")
    return NO_CHANGES


def _plan(parsed: argparse.Namespace) -> int:
    from airflow_provider_adobe_audiences.adobe.client.call import Service
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.groups import sync
    from airflow_provider_adobe_audiences.groups.guards import check
    from airflow_provider_adobe_audiences.groups.live import Scope
    from airflow_provider_adobe_audiences.groups.report import markdown, report, table

    scope = Scope(parsed.prune, parsed.managed_groups, parsed.protected)
    limits = Limits(**{name: getattr(parsed, name) for name in Limits.__dataclass_fields__})
    desired = _load(parsed.file)
    settings = settings_of(parsed.conn_id)
    with AdobeSession(settings) as session:
        plan, _ = sync.plan(
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
    _write(parsed, f"{shown}\n")
    check(plan)
    return CHANGES if plan.changes else NO_CHANGES


def _duplicates(parsed: argparse.Namespace) -> int:
    from airflow_provider_adobe_audiences.adobe.audience_manager import all_of, list_groups
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.groups import sync
    from airflow_provider_adobe_audiences.groups.duplicates import duplicates, lines, surplus
    from airflow_provider_adobe_audiences.groups.live import Live
    from airflow_provider_adobe_audiences.groups.report import result_line

    with AdobeSession(settings_of(parsed.conn_id)) as session:
        shared = duplicates(Live(all_of(session.send, list_groups)))
        ids = {group.group_id for groups in shared for group in groups}
        live = sync.read_all(
            session.send, concurrency=parsed.concurrency, chosen=lambda group: group.group_id in ids
        )
        _write(parsed, "".join(f"{line}\n" for line in lines(live)) or "no groups share a name\n")
        if parsed.remove_empty:
            sync.apply(
                session.send,
                surplus(live),
                live,
                concurrency=parsed.concurrency,
                on_result=lambda result: _write(parsed, f"{result_line(result)}\n"),
            )
    return NO_CHANGES


def _schema(parsed: argparse.Namespace) -> int:
    from airflow_provider_adobe_audiences.groups.spec import json_schema

    _write(parsed, json.dumps(json_schema(), indent=2) + "\n")
    return NO_CHANGES


if __name__ == "__main__":
    sys.exit(main())
