# SPDX-License-Identifier: Apache-2.0
"""Turns what pydantic finds into one message that names the argument, the value and the rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError

M = TypeVar("M", bound=BaseModel)

_MAX_VALUE = 120


def checked(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Return ``values`` as ``model``.

    :param where: who was given the values, such as ``AdobeIngestBatchOperator``.
    :raises AdobeConfigurationError: naming each argument that is wrong, its value and the rule that it
        breaks.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors(include_url=False)]
    raise AdobeConfigurationError(f"{where}: " + "; ".join(problems))


def _explain(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"argument {name!r} is missing"
    if not name:
        return str(message)
    value = repr(problem["input"])
    if len(value) > _MAX_VALUE:
        value = f"{value[:_MAX_VALUE]}…"
    return f"argument {name!r} is {value}: {message[:1].lower()}{message[1:]}"
