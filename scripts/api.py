# SPDX-License-Identifier: Apache-2.0
"""``make api``: write tests/contract/public_api.json, what users of the package depend on, from the code.

Names, parameters, template fields, results, arguments of triggers, connection fields, options of the command
line, the emulator's control API. A test compares: whoever changes any of it knows, and tells it in the
changelog. What Airflow stores of a trigger outlives an upgrade, so the arguments that a released version has
stored stay in tests/contract/trigger_arguments.json for good.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import inspect
import json
import re
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import airflow_provider_adobe_audiences as package
from airflow_provider_adobe_audiences import errors
from airflow_provider_adobe_audiences.get_provider_info import get_provider_info
from scripts import registry
from scripts.local_airflow import REPO

FILE = REPO / "tests" / "contract" / "public_api.json"
#: What each operator leaves in XCom, from a run of it: tests/faults/test_xcom.py records and compares.
SHAPES = REPO / "tests" / "contract" / "xcom_shapes.json"
TRIGGERS = REPO / "tests" / "contract" / "trigger_arguments.json"


def signature(function: Callable[..., Any]) -> dict[str, str]:
    """Return the parameters, by name, as ``type = default``; Airflow's own are not ours to promise.

    :param function: a class, function or method.
    :returns: in the order of the parameters.
    """
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        text = _text(parameter.annotation)
        if parameter.default is not parameter.empty:
            text += f" = {_plain(parameter.default)}"
        found[name] = text
    return found


def _text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _plain(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def result(kind: Any) -> Any:
    """Return what a task leaves in XCom: the fields, if ``execute`` returns a ``TypedDict``, else its type.

    :param kind: class of an operator or sensor.
    :returns: field names with their types, or the text of the annotation.
    """
    annotation = inspect.signature(kind.execute).return_annotation
    module = inspect.getmodule(inspect.unwrap(kind.execute))
    named = vars(module).get(annotation, annotation) if isinstance(annotation, str) else annotation
    if typing.is_typeddict(named):
        return {name: _text(hint) for name, hint in named.__annotations__.items()}
    return _text(annotation)


def classes(layer: str, base: type) -> dict[str, Any]:
    """Return the public classes of a layer with what makes them up.

    :param layer: such as ``operators``.
    :param base: Airflow's base class.
    :returns: by dotted path.
    """
    found = {}
    for path, kind in sorted(registry.public_classes(base, registry.modules(layer)).items()):
        entry: dict[str, Any] = {"parameters": signature(kind)}
        if hasattr(kind, "template_fields") and layer in ("operators", "sensors"):
            entry |= {"template_fields": sorted(kind.template_fields), "xcom": result(kind)}
        if layer == "hooks":
            entry["methods"] = dict(methods(kind))
        found[path.removeprefix(f"{package.__name__}.")] = entry
    return found


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a class of ours, with their parameters.

    :param kind: the class.
    """
    for name, member in sorted(inspect.getmembers(kind)):
        ours = str(getattr(member, "__module__", "")).startswith(package.__name__)
        if not name.startswith("_") and callable(member) and ours:
            yield name, signature(member)


def error_tree() -> dict[str, list[str]]:
    """Return every exception of ours with the bases that one may catch.

    :returns: names of bases, by the name of the class.
    """
    return {
        name: [base.__name__ for base in kind.__mro__[1:] if base not in (Exception, BaseException, object)]
        for name, kind in sorted(vars(errors).items())
        if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
    }


def options(parser: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the command line with its arguments and options.

    :param parser: where to begin.
    :param command: what leads there.
    """
    own = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options(below, f"{command} {name}".strip())
        elif not isinstance(action, argparse._HelpAction):
            own.append("/".join(action.option_strings) or action.dest)
    if own:
        yield command, sorted(own)


def control_api() -> list[str]:
    """Return methods and paths of the emulator's control API."""
    from airflow_provider_adobe_audiences.emulator import control

    return sorted(f"{method} {route.path}" for route in control.routes.routes for method in route.methods)  # type: ignore[attr-defined]


def content() -> dict[str, Any]:
    """Return what the file should contain."""
    from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_adobe_audiences import assets, cli
    from airflow_provider_adobe_audiences.emulator.core import Emulator
    from airflow_provider_adobe_audiences.emulator.faults import FaultRule
    from airflow_provider_adobe_audiences.rotation import stores
    from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore

    with closing(Emulator()) as emulator:
        switches = sorted(emulator.switches)
    info = get_provider_info()
    bases: tuple[type, ...] = (BaseHook, BaseOperator, BaseSensorOperator, BaseTrigger)
    named = {name: getattr(stores, name) for name in stores.__all__}
    (connection,) = info["connection-types"]
    return {
        **{layer: classes(layer, base) for layer, base in zip(registry.LAYERS, bases, strict=True)},
        "secret stores": {
            name: signature(kind)
            for name, kind in sorted(named.items())
            if inspect.isclass(kind) and issubclass(kind, SecretStore)
        },
        "assets": {
            name: signature(function)
            for name, function in sorted(vars(assets).items())
            if inspect.isfunction(function) and function.__module__ == assets.__name__
        },
        "errors": error_tree(),
        "connection": {
            "type": connection["connection-type"],
            "fields": {name: field["schema"] for name, field in connection["conn-fields"].items()},
        },
        "command line": dict(options(cli._parser())),
        "emulator": control_api(),
        "emulator fault rules": sorted(FaultRule.model_fields),
        "emulator switches": switches,
    }


def stored_arguments() -> dict[str, Any]:
    """Return the arguments that Airflow stores of each trigger, as this version does.

    :returns: by the path of the trigger.
    """
    dialect = importlib.import_module("tests.airflow.dialect")
    return dict(sorted(dialect.trigger_of(kind).serialize() for kind in dialect.waits().values()))


def dump(value: Any) -> str:
    """Return JSON as it stands in the files.

    :param value: what to write.
    :returns: text that ends with a newline.
    """
    return json.dumps(value, indent=1, default=str) + "\n"


def main() -> None:
    warnings.simplefilter("ignore")
    FILE.write_text(dump(content()))
    kept = json.loads(TRIGGERS.read_text()) if TRIGGERS.exists() else {}
    TRIGGERS.write_text(dump(kept | {package.__version__: stored_arguments()}))
    for file in (FILE, TRIGGERS):
        print(f"wrote {Path(file).relative_to(REPO)}; tell in CHANGELOG.md what has changed for users")


if __name__ == "__main__":
    main()
