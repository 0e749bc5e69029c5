# SPDX-License-Identifier: Apache-2.0
"""Reading requests: bodies as JSON or as a form, with a clear 400 for what is neither."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .responses import ErrorResponse


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, as RFC 8259 has it: ``NaN`` and ``Infinity`` are none.

    :raises ValueError: when it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def refuse_constant(name: str) -> Any:
    """Refuse ``NaN`` and ``Infinity``, for :class:`json.JSONDecoder`.

    :raises ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """Return a number of a JSON text, for :class:`json.JSONDecoder`.

    :raises ValueError: when it is out of range.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is out of range")
    return value


async def json_value(request: Request) -> Any:
    """Return the request's JSON.

    :raises ErrorResponse: 400 when the body is not JSON.
    """
    try:
        return parse_json(await request.body())
    except ValueError as error:
        raise ErrorResponse(400, {"message": f"the body is not JSON: {error}"}) from None


async def json_object(request: Request, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the request's JSON object.

    :param default: what an empty body means; none: an empty body is an error.
    :raises ErrorResponse: 400 when the body is no JSON object.
    """
    if default is not None and not await request.body():
        return default
    value = await json_value(request)
    if not isinstance(value, dict):
        raise ErrorResponse(400, {"message": "the body must be a JSON object"})
    return value


async def form_fields(request: Request) -> dict[str, str]:
    """Return the text fields of a form; a body that is no form has none."""
    try:
        form = await request.form()
    except (HTTPException, ValueError, AssertionError):
        return {}
    return {name: value for name, value in form.items() if isinstance(value, str)}


def with_clear_errors(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the emulator for the control API.

    :returns: what it returns.
    :raises ErrorResponse: 400 with the reason, when it does not take the arguments.
    """
    try:
        return function(*arguments)
    except ValidationError as error:
        problems = [
            {"field": ".".join(map(str, e["loc"])), "message": e["msg"]}
            for e in error.errors(include_url=False)
        ]
        raise ErrorResponse(400, {"message": "not valid", "problems": problems}) from None
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        said = str(error.args[0] if error.args else error)
        if isinstance(error, KeyError) and said.isidentifier():
            said = f"{said} is missing"
        raise ErrorResponse(400, {"message": said}) from None
