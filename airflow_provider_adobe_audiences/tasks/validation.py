# SPDX-License-Identifier: Apache-2.0
"""The arguments of operators and sensors: their types, one check by pydantic, one grammar of messages.

The annotations of ``__init__`` are the rules. What is no template field is checked when the Dag is parsed,
the rest when the task begins, before any request. Nothing is guessed: a text is not a bool, a list or a
number.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from airflow.providers.common.compat.sdk import XComArg
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

M = TypeVar("M", bound=BaseModel)

_PACKAGE = "airflow_provider_adobe_audiences."
_MAX_SHOWN = 120
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
NATIVE = (
    "; a template gives text unless its Dag has render_template_as_native_obj=True, "
    "an upstream task's output keeps its type"
)


class _TemplateMark:
    """Tells what stands for a value until Airflow has rendered it."""


class Hidden:
    """Marks a parameter whose value no message may show, as in ``Annotated[Rows, Hidden]``."""


#: A text with ``{{ … }}``, or what an upstream task returns; for parameters that are template fields.
Template = Annotated[str, _TemplateMark] | XComArg

#: A number of seconds greater than 0.
Seconds = Annotated[float, Field(gt=0)]
#: A whole number that is not negative.
Count = Annotated[int, Field(ge=0)]
#: How many requests may be under way at the same time.
Concurrency = Annotated[int, Field(ge=1, le=64)]
#: A share, from 0 to 1.
Ratio = Annotated[float, Field(ge=0, le=1)]


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("should not be blank")
    return value


#: A text that is not empty or blank.
Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]


def _delimiter(value: str) -> str:
    if len(value) != 1 or value in '"\r\n':
        raise ValueError("should be one character, such as ';' or a tab, and no quote or line break")
    return value


#: What separates the cells of CSV.
Delimiter = Annotated[str, AfterValidator(_delimiter)]


def _not_none(value: str) -> str:
    if value.strip() in ("", "None"):
        raise ValueError("should be an id; a template gives 'None' where there is no value")
    return value


def _segment(value: str) -> str:
    from airflow_provider_adobe_audiences.adobe.client.call import checked_segment

    return checked_segment(value)


#: An id, and not what a template makes of a value that is missing.
Id = Annotated[str, AfterValidator(_not_none)]
#: An id that stands in a URL.
PathId = Annotated[Id, AfterValidator(_segment)]


def _iso_8601(value: Any) -> Any:
    if isinstance(value, str):
        return TypeAdapter(timedelta).validate_python(value)
    return value


#: A time that is not negative: a ``timedelta``, or as text (from a template) in ISO 8601, such as ``P14D``.
Duration = Annotated[timedelta, BeforeValidator(_iso_8601), Field(ge=timedelta(0))]
#: A time greater than 0, written like :data:`Duration`.
PositiveDuration = Annotated[timedelta, BeforeValidator(_iso_8601), Field(gt=timedelta(0))]
#: What to do when a source has nothing to send.
IfEmpty = Literal["fail", "skip", "succeed"]


class CheckedArguments:
    """Adds the checks to an operator or a sensor.

    ``__init__`` of each class that users write ends with :meth:`check_constants`, ``execute`` begins with
    :meth:`check_arguments`.
    """

    template_fields: Any

    def check_constants(self) -> None:
        """Check what no template can change, as far as it is set by now.

        :raises AdobeConfigurationError: naming each argument that is wrong, its value and the rule.
        """
        self._check([name for name in self._known() if name not in self.template_fields])

    def check_arguments(self) -> None:
        """Check everything, after templates are rendered and before any request.

        :raises AdobeConfigurationError: naming each argument that is wrong, its value and the rule.
        """
        self._check(list(self._known()))

    def _known(self) -> Mapping[str, tuple[TypeAdapter[Any], bool]]:
        kind: Any = type(self)
        return argument_types(kind)

    def _check(self, names: list[str]) -> None:
        known = self._known()
        problems: list[str] = []
        for name in names:
            if name not in vars(self):
                continue
            given = getattr(self, name)
            adapter, shown = known[name]
            try:
                value = adapter.validate_python(given)
            except ValidationError as error:
                templated = name in self.template_fields
                problems += [explain(found, name, shown, templated) for found in _of_one_kind(error, given)]
            else:
                if isinstance(value, timedelta) and value is not given:
                    setattr(self, name, value)
        if problems:
            raise AdobeConfigurationError(f"{type(self).__name__}: " + "; ".join(dict.fromkeys(problems)))


@functools.cache
def argument_types(kind: Any) -> Mapping[str, tuple[TypeAdapter[Any], bool]]:
    """Return, by name, how to check each argument of ``kind``, and whether its value may be shown.

    :param kind: an operator or a sensor of this package, or a subclass of one.
    """
    found: dict[str, tuple[TypeAdapter[Any], bool]] = {}
    for owner in kind.__mro__:
        if not owner.__module__.startswith(_PACKAGE) or "__init__" not in vars(owner):
            continue
        for name, hint in own_hints(vars(owner)["__init__"]).items():
            if name not in found:
                # A parameter of a kind that is not checked here, such as a store, checks itself.
                found[name] = (
                    TypeAdapter(_without_templates(hint), config=_config(hint)),
                    _may_be_shown(hint),
                )
    return found


def own_hints(init: Any) -> dict[str, Any]:
    """Return the types of a constructor's arguments, without Airflow's own: those are for type checkers only.

    :param init: ``__init__`` of an operator or a sensor.
    :returns: annotations by name.
    """
    own = {name: hint for name, hint in init.__annotations__.items() if name not in ("return", "kwargs")}
    names = inspect.unwrap(init).__globals__
    return get_type_hints(types.SimpleNamespace(__annotations__=own), names, include_extras=True)


def _config(hint: Any) -> ConfigDict | None:
    # A type with a configuration of its own, such as a model, does not take another.
    return None if isinstance(hint, type) and issubclass(hint, BaseModel) else _STRICT


def _without_templates(hint: Any) -> Any:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    kept = [
        part
        for part in get_args(hint)
        if part is not XComArg and _TemplateMark not in getattr(part, "__metadata__", ())
    ]
    return functools.reduce(operator.or_, kept)


def _may_be_shown(hint: Any) -> bool:
    parts = (hint, *get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return not any(Hidden in getattr(part, "__metadata__", ()) for part in parts)


def checked(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Return ``values`` as ``model``.

    :param model: a pydantic model.
    :param values: its fields.
    :param where: who was given the values, such as ``AdobeIngestBatchOperator``.
    :returns: the model.
    :raises AdobeConfigurationError: naming each argument that is wrong, its value and the rule that it
        breaks.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [explain(problem) for problem in error.errors(include_url=False)]
    raise AdobeConfigurationError(f"{where}: " + "; ".join(dict.fromkeys(problems)))


def _of_one_kind(error: ValidationError, given: Any) -> list[Any]:
    """Return what is wrong, said once where a value may be of several kinds: pydantic says it for each, and
    adds the name of the kind to the place.
    """
    found: list[Any] = error.errors(include_url=False)
    whole = [one for one in found if one["input"] is given and one["type"].endswith("_type")]
    if len(found) > len(whole) or len(whole) < 2:
        return found
    rules = [one["msg"].removeprefix("Input should be ") for one in whole]
    return [{**whole[0], "loc": (), "msg": f"should be {' or '.join(dict.fromkeys(rules))}"}]


def explain(problem: Any, argument: str = "", shown: bool = True, templated: bool = True) -> str:
    """Return what pydantic found in the one grammar: ``argument 'x' is <value>: <rule>``.

    :param problem: an item of ``ValidationError.errors()``.
    :param argument: the argument, when pydantic checked only its value.
    :param shown: whether the value may be shown; customers' rows may not.
    :param templated: whether a template may have made the value.
    """
    where = [part for part in problem["loc"] if isinstance(part, int) or str(part).isidentifier()]
    name = ".".join(str(part) for part in ([argument, *where] if argument else where))
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "missing":
        return f"argument {name!r} is missing"
    if not name:
        return str(message)
    value = problem["input"]
    rule = f"{message[:1].lower()}{message[1:]}"
    # What no template is the reason for: another choice or text, a number or a time that is out of bounds.
    by_itself = ("literal_error", "value_error", "string_", "greater_than", "less_than")
    if templated and isinstance(value, str) and not problem["type"].startswith(by_itself):
        rule += NATIVE
    return f"argument {name!r} is {_shown(value) if shown else type(value).__name__}: {rule}"


def _is_short(values: Collection[Any]) -> bool:
    return len(values) <= 3 and not any(isinstance(value, (Mapping, list, tuple, set)) for value in values)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) or (isinstance(value, (list, tuple, set)) and not _is_short(value)):
        return f"a {type(value).__name__} of {len(value)}"  # it may be rows, which nobody may see
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
