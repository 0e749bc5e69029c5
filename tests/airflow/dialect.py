# SPDX-License-Identifier: Apache-2.0
"""The rules that every operator, sensor and trigger follows: each looks at one class and says what is wrong.

Classes are discovered and their arguments are made up from the annotations, so that a new class cannot speak
another dialect.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import pickle
import pkgutil
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from airflow.providers.common.compat.sdk import (
    DAG,
    BaseOperator,
    BaseSensorOperator,
    XComArg,
)
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.triggers.base import BaseTrigger
from pydantic import ValidationError

from airflow_provider_adobe_audiences import operators, sensors, triggers
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.rotation.stores import AirflowVariableStore
from airflow_provider_adobe_audiences.tasks.validation import Template, argument_types, own_hints

PACKAGE = "airflow_provider_adobe_audiences."
GRAMMAR = re.compile(r"argument '(?P<name>[a-z_][a-z0-9_]*)[\w.]*' is .+: .+", re.DOTALL)
#: One of these has to be refused by a parameter that says what it is.
WRONG = [object(), 1.5, -1, True, "False", "", (), [1], {"a": 1}, timedelta(-1)]
#: Texts that a template gives where a bool, a list, a number or a mapping is meant.
TEXTS = ["False", "[1, 2]", "30", '{"a": 1}', "P1D"]
#: Made up where the annotation alone does not say what is right.
VALUES: dict[str, Any] = {
    "store": AirflowVariableStore("adobe_token"),
    "desired": {"groups": []},
    "batches": ["https://client.tt.omtrdc.net/m2/client/v2/profile/batchStatus?batchId=client-1"],
    "source": "/data/rows.csv",
}
#: What is needed although it has a default, because one of several must be given.
ALSO_NEEDED = {"AdobeBulkProfileUpdateOperator": ["source"]}
#: Keys of documents that are passed on as they are: permissions, as people declare them.
ADOBES_KEYS = {"objectType", "objectId"}
SECRET = re.compile(r"(^|_)(token|secret|password|credential|store)s?($|_)")
#: One name per idea: the name that is used, and others that would mean the same.
NAMES = {
    "source": r"files?|paths?|sources|file_path|input\w*|uri|url",
    "poll_interval": r"poll\w*|polling\w*|interval|check_interval",
    "timeout": r"\w*wait_timeout|max_wait|timeout_\w+|wait_for",
    "max_failed_rows": r"max_failed\w*|max_errors|failed_rows|max_failures",
    "adobe_conn_id": r"conn_id|\w+_conn_id",
    "wait_for_completion": r"wait|wait_\w+|asynchronous",
    "deferrable": r"deferred|defer",
}


def kinds_in(package: ModuleType, base: type) -> Iterator[type]:
    """Yield the public classes that the modules of ``package`` define."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module.name:
                yield kind


def does_something(kind: type) -> bool:
    """Whether it is more than a base of others."""
    methods = (getattr(kind, name, None) for name in ("execute", "poke"))
    return any(
        getattr(method, "__module__", "").startswith(
            (f"{PACKAGE}operators.", f"{PACKAGE}sensors.", f"{PACKAGE}tasks.sensor")
        )
        for method in methods
    )


def tasks() -> dict[str, Any]:
    """Return every operator and sensor, by name."""
    found = [*kinds_in(operators, BaseOperator), *kinds_in(sensors, BaseSensorOperator)]
    return {kind.__name__: kind for kind in found if does_something(kind)}


def waits() -> dict[str, Any]:
    """Return every trigger that can be made, by name."""
    return {
        kind.__name__: kind
        for kind in kinds_in(triggers, BaseTrigger)
        if not inspect.isabstract(kind) and kind.__module__ != f"{PACKAGE}triggers.base"
    }


def parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """Return what the signature of the class itself shows, but for ``self`` and Airflow's own."""
    found = inspect.signature(kind.__init__).parameters
    return {
        name: parameter
        for name, parameter in found.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def hints(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith(PACKAGE) and "__init__" in vars(owner):
            found |= own_hints(vars(owner)["__init__"])
    return found


def accepts(kind: Any, name: str, value: Any) -> bool:
    try:
        argument_types(kind)[name][0].validate_python(value)
    except ValidationError:
        return False
    return True


@functools.cache
def right_value(kind: Any, name: str) -> Any:
    """Return a value that the annotation accepts."""
    if name in VALUES:
        return VALUES[name]
    hint = hints(kind)[name]
    choices = [
        choice for part in (hint, *get_args(hint)) if get_origin(part) is Literal for choice in get_args(part)
    ]
    rows = {"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}
    for value in (*choices, "12", 1, True, [rows], ["12"], {"a": "b"}, {"a": ["b"]}, timedelta(1), 0.5):
        if accepts(kind, name, value):
            return value
    raise AssertionError(f"no value for {name} of {kind.__name__}: add one to VALUES")


def arguments(kind: Any) -> dict[str, Any]:
    """Return arguments that are right, as few as possible."""
    return {
        name: right_value(kind, name)
        for name, parameter in parameters(kind).items()
        if parameter.default is inspect.Parameter.empty or name in ALSO_NEEDED.get(kind.__name__, ())
    }


def wrong_values(kind: Any, name: str) -> list[Any]:
    """Return values that the annotation refuses; where it leaves the check to others, what nobody takes."""
    return [value for value in WRONG if not accepts(kind, name, value)] or [object()]


def in_grammar(text: str, name: str) -> bool:
    return any(found["name"] == name for found in GRAMMAR.finditer(text))


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> str | None:
    """Return the text of the error that a call raises for a bad argument; ``None`` when it goes through."""
    try:
        call(*given, **named)
    except AdobeConfigurationError as error:
        return str(error)
    except Exception as error:  # Airflow's, around ours
        if isinstance(error.__cause__, AdobeConfigurationError):
            return str(error)
        return f"{type(error).__name__}: {error}"
    return None


# ------------------------------------------------------------------------------------------------------------
# operators and sensors


def signature(kind: Any) -> list[str]:
    """Every parameter stands in the signature of the class that users write, by name only."""
    shown = parameters(kind)
    if "__init__" not in vars(kind):
        return ["has no __init__ of its own"]
    of_bases = {
        name
        for base in kind.__mro__
        if base.__module__.startswith(PACKAGE) and "__init__" in vars(base)
        for name in parameters(base)
    }
    hidden = sorted((of_bases | set(kind.template_fields)) - shown.keys())
    positional = [name for name, found in shown.items() if found.kind is not found.KEYWORD_ONLY]
    rest = inspect.unwrap(kind.__init__).__annotations__.get("kwargs")
    airflows = f"Unpack[{'Sensor' if issubclass(kind, BaseSensorOperator) else 'Operator'}Arguments]"
    return (
        [f"hides {name}" for name in hidden]
        + [f"{name} may be positional" for name in positional]
        + ([] if rest == airflows else [f"**kwargs is {rest}, not {airflows}"])
    )


def hook(kind: Any) -> list[str]:
    """``hook`` is a cached property."""
    found = inspect.getattr_static(kind, "hook", None)
    return [] if isinstance(found, functools.cached_property) else [f"hook is {type(found).__name__}"]


def checks(kind: Any) -> list[str]:
    """What no template can change is refused when the Dag is parsed."""
    problems = []
    for name in parameters(kind).keys() - set(kind.template_fields):
        for value in wrong_values(kind, name):
            said = refused(kind, task_id="t", **arguments(kind) | {name: value})
            if said is None:
                problems.append(f"{name}={value!r} is taken")
            elif not in_grammar(said, name):
                problems.append(f"{name}={value!r} is refused with {said!r}")
    return problems


def checks_rendered(kind: Any, sent: Callable[[], int] = lambda: 0) -> list[str]:
    """What a template gives is refused when the task begins, with no request sent."""
    problems = []
    for name in kind.template_fields:
        for value in wrong_values(kind, name):
            task = kind(task_id="t", **arguments(kind) | {name: "{{ var.value.it }}"})
            setattr(task, name, value)
            before = sent()
            said = refused(task.execute, {})
            if said is None:
                problems.append(f"{name}={value!r} is taken")
            elif not in_grammar(said, name):
                problems.append(f"{name}={value!r} is refused with {said!r}")
            if sent() != before:
                problems.append(f"{name}={value!r} is refused after a request")
    return problems


def guesses_nothing(kind: Any) -> list[str]:
    """Text where something else is meant is refused with the words how to write it."""
    problems = []
    for name in parameters(kind):
        for text in (text for text in TEXTS if not accepts(kind, name, text)):
            if name in kind.template_fields:
                task = kind(task_id="t", **arguments(kind) | {name: "{{ var.value.it }}"})
                setattr(task, name, text)
                said = refused(task.execute, {})
            else:
                said = refused(kind, task_id="t", **arguments(kind) | {name: text})
            templated = name in kind.template_fields
            wrong_advice = not templated and "render_template_as_native_obj" in (said or "")
            if not in_grammar(said or "", name) or wrong_advice or (templated and not says_how(said or "")):
                problems.append(
                    f"{name}={text!r} is refused with {said!r}" if said else f"takes {name}={text!r}"
                )
    return problems


def says_how(said: str) -> bool:
    """Whether a message tells how to write it: the choices, the kind of object, or how to keep a type."""
    return bool(re.search(r"render_template_as_native_obj=True|should be ['\d]|instance of", said))


def typed(kind: Any) -> list[str]:
    """Every template field is typed to accept what an upstream task returns, and does."""
    problems = [
        f"{name} is not typed to take an XComArg"
        for name in kind.template_fields
        if XComArg not in get_args(hints(kind).get(name))
    ]
    with DAG("typed", schedule=None):
        upstream = EmptyOperator(task_id="upstream")
        given = arguments(kind) | dict.fromkeys(set(kind.template_fields) & parameters(kind).keys())
        if "rows" in given and "source" in given:
            del given["rows"]
        given |= {name: upstream.output for name in given if name in kind.template_fields}
        task = kind(task_id="t", **given)
    if upstream not in task.upstream_list:
        problems.append("an upstream task's output makes no dependency")
    return problems


def names(kind: Any) -> list[str]:
    """One name per idea, in snake case."""
    return [
        f"{name} should be {right}"
        for name in parameters(kind)
        for right, others in NAMES.items()
        if name != right and name not in NAMES and re.fullmatch(others, name)
    ] + [
        f"{name} is not snake_case" for name in parameters(kind) if not re.fullmatch(r"[a-z][a-z0-9_]*", name)
    ]


def documented(kind: Any) -> list[str]:
    """The docstring names every parameter and no other, says which are templated, and gives the result."""
    text = inspect.getdoc(kind) or ""
    parts = re.split(r"^:", text, flags=re.MULTILINE)
    said = {found[1]: part for part in parts if (found := re.match(r"param (\w+):", part))}
    problems = [f"no :param {name}:" for name in parameters(kind) if name not in said]
    problems += [f":param {name}: is no parameter" for name in said if name not in parameters(kind)]
    for name in said.keys() & parameters(kind).keys():
        if ("(templated)" in said[name]) != (name in kind.template_fields):
            problems.append(f":param {name}: and template_fields differ")
    does = inspect.getdoc(kind.poke if issubclass(kind, BaseSensorOperator) else kind.execute) or ""
    if not re.search(r"^:returns:", f"{text}\n{does}", re.MULTILINE):
        problems.append("no :returns:")
    return problems


def xcom_keys_documented(kind: Any) -> list[str]:
    """The keys that the docstring promises are snake_case."""
    text = inspect.getdoc(kind) or ""
    result = " ".join(
        re.findall(r"(?:^:returns:|Returns)(.*?)(?=\n\n|\n:|\Z)", text, re.MULTILINE | re.DOTALL)
    )
    keys = set(re.findall(r"\"([A-Za-z_]+)\"", result)) - ADOBES_KEYS
    return [f"returns {key!r}" for key in sorted(keys) if key != key.lower()]


def serialized(dag: Any) -> None:
    """Bring a Dag into the form in which the scheduler gets it."""
    from airflow.serialization import serialized_objects

    lazy = getattr(serialized_objects, "LazyDeserializedDAG", None)
    if hasattr(lazy, "from_dag"):
        lazy.from_dag(dag)
    else:  # Airflow 2.11 and 3.0
        serialized_objects.SerializedDAG.to_dict(dag)


def maps(kind: Any) -> list[str]:
    """``.partial().expand()`` works, over each template field and with Airflow's serialization."""
    problems = []
    given = arguments(kind)
    for name in set(kind.template_fields) & parameters(kind).keys():
        with DAG("maps", schedule=None) as dag:
            fixed = {key: value for key, value in given.items() if key != name}
            mapped = kind.partial(task_id="t", **fixed).expand(**{name: [right_value(kind, name)]})
        serialized(dag)
        task = mapped.unmap({name: right_value(kind, name)})
        if getattr(task, name, None) != right_value(kind, name):
            problems.append(f"{name} is lost when it is mapped")
    return problems


def pickles(kind: Any) -> list[str]:
    """A task can be pickled and keeps its arguments."""
    task = kind(task_id="t", **arguments(kind))
    again = pickle.loads(pickle.dumps(task))
    return [
        f"{name} is lost when it is pickled"
        for name in parameters(kind)
        if name not in VALUES and getattr(again, name) != getattr(task, name)
    ]


def shows_no_secret(kind: Any) -> list[str]:
    """No template field holds a secret: Airflow shows them to everybody."""
    return [f"{name} is a template field" for name in kind.template_fields if SECRET.search(name)]


TASK_RULES: dict[str, Callable[[Any], list[str]]] = {
    rule.__name__: rule
    for rule in (
        signature,
        hook,
        checks,
        checks_rendered,
        guesses_nothing,
        typed,
        names,
        documented,
        xcom_keys_documented,
        maps,
        pickles,
        shows_no_secret,
    )
}


# ------------------------------------------------------------------------------------------------------------
# triggers


def trigger_of(kind: Any, **more: Any) -> Any:
    required = {
        name: VALUES.get(name)
        or ([{"batch_id": "1", "status_url": "u", "rows": 1}] if name == "batches" else "12")
        for name, found in parameters(kind).items()
        if found.default is inspect.Parameter.empty
    }
    if "batches" in required:
        required["batches"] = [{"batch_id": "1", "status_url": "u", "rows": 1}]
    return kind(**{"deadline": 1.0, **required, **more})


def trigger_documented(kind: Any) -> list[str]:
    """The docstring names every parameter of the class."""
    text = inspect.getdoc(kind) or ""
    return [f"no :param {name}:" for name in parameters(kind) if f":param {name}:" not in text]


def trigger_comes_back(kind: Any) -> list[str]:
    """What Airflow stores of a trigger is JSON, makes the same trigger, and holds no secret."""
    trigger = trigger_of(kind, adobe_conn_id="other", deadline=5.0)
    path, stored = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(stored)))
    problems = [] if again.serialize() == (path, stored) else ["is another one after it was stored"]
    missing = parameters(kind).keys() - stored.keys()
    problems += [f"{name} is not stored" for name in missing]
    return problems + [f"{name} holds a secret" for name in stored if name != "store" and SECRET.search(name)]


def trigger_outlives_an_upgrade(kind: Any) -> list[str]:
    """Arguments of another version, stored before an upgrade, do not break it."""
    trigger_of(kind, an_argument_of_another_version=1)
    return []


TRIGGER_RULES: dict[str, Callable[[Any], list[str]]] = {
    rule.__name__: rule for rule in (trigger_documented, trigger_comes_back, trigger_outlives_an_upgrade)
}

# ------------------------------------------------------------------------------------------------------------
# all of them together


def same_types() -> list[str]:
    """Return parameters that have one name and several types."""
    found: dict[str, dict[str, list[str]]] = {}
    for kind in tasks().values():
        for name, hint in hints(kind).items():
            if name in parameters(kind):
                found.setdefault(name, {}).setdefault(_plain(hint), []).append(kind.__name__)
    return [f"{name}: {types}" for name, types in found.items() if len(types) > 1]


def _plain(hint: Any) -> str:
    """Return a type without its choices, ``None`` and templates: those belong to the single operator."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kept = {
        "Literal" if get_origin(part) is Literal else repr(part)
        for part in parts
        if part not in (type(None), *get_args(Template))
    }
    return " | ".join(sorted(kept))


def imports_upward(package: ModuleType, forbidden: tuple[str, ...]) -> list[str]:
    """Return the imports, also those inside functions, that lead to a forbidden package."""
    problems = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        source = inspect.getsource(importlib.import_module(module.name))
        problems += [
            f"{module.name} imports {node.module}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(forbidden)
        ]
    return problems
