# SPDX-License-Identifier: Apache-2.0
"""Public docstrings say what a caller needs: parameters, result, errors, and where Adobe says so.

What ruff's pydocstyle rules cannot see of reStructuredText: they know Google's and numpy's sections only.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import pytest

import airflow_provider_adobe_audiences as package
from airflow_provider_adobe_audiences import errors

ROOMS = (
    "adobe",
    "assets",
    "audiences",
    "batches",
    "errors",
    "groups",
    "hooks",
    "operators",
    "profiles",
    "rotation",
    "sensors",
    "tasks",
    "text",
    "triggers",
)
#: Raised for whoever writes code here, not for who calls it.
FOR_AUTHORS = {"AssertionError", "NotImplementedError", "StopIteration", "StopAsyncIteration"}


def modules() -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if module.name.split(".")[1] in ROOMS]


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a module defines for others: functions, classes and their methods, by name."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            yield name, thing
            yield from methods(thing)


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(kind).items():
        function = getattr(thing, "__func__", getattr(thing, "fget", getattr(thing, "func", thing)))
        if name.startswith("_") or not inspect.isfunction(function) or is_told_by_a_base(kind, name):
            continue
        if function.__module__ == kind.__module__:
            yield f"{kind.__name__}.{name}", function if function is thing else thing


def is_told_by_a_base(kind: type, name: str) -> bool:
    """Whether it is a method that a class of this package has told of already."""
    return any(
        getattr(vars(base).get(name), "__doc__", None)
        for base in kind.__mro__[1:]
        if base.__module__.startswith(package.__name__)
    )


def problems_of(name: str, thing: Any) -> list[str]:
    text = inspect.cleandoc(thing.__doc__ or "")
    if not text:
        return [f"{name}: no docstring"]
    if inspect.isclass(thing):
        return [f"{name}: no :param {each}:" for each in fields(thing) if not tells_of(text, each, thing)]
    if isinstance(thing, property) or hasattr(thing, "func"):
        return []
    function = getattr(thing, "__func__", thing)
    problems = [
        f"{name}: no :param {each}:" for each in parameters(function) if f":param {each}:" not in text
    ]
    result = str(function.__annotations__.get("return", "None"))
    if result not in ("None", "NoReturn") and not re.search(r":(returns|yields):|Returns? |Yields? ", text):
        problems.append(f"{name}: no :returns:")
    told = set(re.findall(r":raises (\w+):", text)) | set(
        re.findall(r"[Rr]aises? :class:`~?[\w.]*?(\w+)`", text)
    )
    problems += [f"{name}: no :raises {each}:" for each in raised(function) if not family(each) & told]
    if re.match(r"Call\b", result) and not re.search(r"seealso|Adobe|Source", text):
        problems.append(f"{name}: no source")
    return problems


def parameters(function: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, found in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
        and not name.startswith("_")
        and found.kind not in (found.VAR_POSITIONAL, found.VAR_KEYWORD)
    ]


def fields(kind: type) -> list[str]:
    """Return what a class is made with, as far as it says so itself."""
    if "__dataclass_fields__" in vars(kind):
        return [
            name for name, field in vars(kind)["__dataclass_fields__"].items() if not name.startswith("_")
        ]
    if hasattr(kind, "model_fields"):
        return [
            name for name in kind.__annotations__ if not name.startswith("_") and name in kind.model_fields
        ]
    return parameters(vars(kind)["__init__"]) if "__init__" in vars(kind) else []


def tells_of(text: str, name: str, kind: type) -> bool:
    """Whether a field is told of in the docstring, or in a comment or description next to it."""
    if re.search(rf":(param|ivar) {name}:", text):
        return True
    described = getattr(kind, "model_fields", {}).get(name)
    if described is not None and (described.description or is_single_choice(described.annotation)):
        return True
    of_init = inspect.cleandoc(vars(kind).get("__init__", kind).__doc__ or "")
    return f":param {name}:" in of_init or bool(
        re.search(rf"(#: .*\n\s*)+{name}: |\b{name}: .*(#|description=)", inspect.getsource(kind))
    )


def is_single_choice(annotation: Any) -> bool:
    """Whether a field can have one value only, and so says what it is."""
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def raised(function: Callable[..., Any]) -> list[str]:
    """Return the classes that a function's own lines raise."""
    names = []
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    nodes: list[ast.AST] = list(getattr(tree, "body", []))
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and isinstance(node.exc.func, ast.Name)
        ):
            names.append(node.exc.func.id)
        nodes.extend(ast.iter_child_nodes(node))
    return sorted({name for name in names if name[:1].isupper() and not name.startswith("_")} - FOR_AUTHORS)


def family(name: str) -> set[str]:
    """Return the names that tell of an exception: its own and those of the families it belongs to."""
    kind = getattr(errors, name, getattr(builtins, name, None))
    names = {base.__name__ for base in getattr(kind, "__mro__", ())}
    return (names | {name}) - {"object", "BaseException"}


def problems_in(module: str) -> list[str]:
    loaded = importlib.import_module(module)
    return [problem for name, thing in public(loaded) for problem in problems_of(name, thing)] + (
        [] if loaded.__doc__ else ["no docstring of the module"]
    )


@pytest.mark.parametrize("module", modules())
def test_public_docstrings_are_complete(module: str) -> None:
    assert problems_in(module) == []


def test_all_modules_are_found() -> None:
    assert len(modules()) > 80


class Specimen:
    """A specimen.

    :param kept: is told of.
    """

    def __init__(self, kept: int, lost: int) -> None:
        self.kept, self.lost = kept, lost

    def told(self, number: int) -> int:
        """Return more.

        :param number: how much more.
        :raises ValueError: when it is negative.
        """
        if number < 0:
            raise ValueError(number)
        return number + self.kept

    def untold(self, number: int) -> int:
        """Do something."""
        if number < 0:
            raise KeyError(number)
        return number

    def nothing(self) -> None: ...


def test_the_rules_can_fail() -> None:
    found = [
        problem
        for name, thing in [("Specimen", Specimen), *methods(Specimen)]
        for problem in problems_of(name, thing)
    ]
    assert found == [
        "Specimen: no :param lost:",
        "Specimen.untold: no :param number:",
        "Specimen.untold: no :returns:",
        "Specimen.untold: no :raises KeyError:",
        "Specimen.nothing: no docstring",
    ]


if __name__ == "__main__":
    for each in modules():
        for line in problems_in(each):
            print(f"{each}: {line}")
