# SPDX-License-Identifier: Apache-2.0
"""How the handlers of Audience Manager are registered, and what they are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.requests import parse_json
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described

from .errors import error
from .models import AudienceManager

#: Parameters that every list takes.
PAGES = ("page", "pageSize")
IDS = {"type": "array", "items": {"type": "integer"}}
PREFIXES = ("/api/v1", "/v1")

Handler = Callable[..., Awaitable[Response]]


async def _service(request: Request) -> AudienceManager:
    service: AudienceManager = request.app.state.audience_manager
    return service


#: The service.
Manager = Annotated[AudienceManager, Depends(_service)]


def endpoint(
    routes: APIRouter,
    method: str,
    printed: str,
    *,
    self_service: bool = False,
    body: Mapping[str, Any] | None = None,
    query: Iterable[str] = (),
) -> Callable[[Handler], Handler]:
    """Register a handler under both prefixes, with and without a slash at the end.

    :param printed: the path as Adobe's page prints it.
    :param self_service: may be called by anybody, not only by admins.
    :param body: JSON schema of the request body.
    :param query: names of the parameters in the query.
    """

    def register(handler: Handler) -> Handler:
        extra = described(body=body, query=query)
        bare = printed.rstrip("/")
        for prefix in PREFIXES:
            for form in (bare, f"{bare}/"):
                check = _check(prefix, form == printed, self_service)
                routes.add_api_route(
                    prefix + form,
                    handler,
                    methods=[method],
                    dependencies=[Depends(check)],
                    openapi_extra=extra,
                )
        return handler

    return register


def _check(prefix: str, exact: bool, self_service: bool) -> Callable[..., Awaitable[None]]:
    async def check(request: Request, manager: Manager) -> None:
        switches = manager.switches
        served = switches.aam_prefix in ("both", prefix)
        if not served or not (exact or switches.aam_trailing_slash == "both"):
            raise error(404, "not_found", "there is no resource at this path")
        request.state.username = manager.authenticate(request)
        if not self_service and not switches.aam_caller_is_admin:
            raise error(403, "forbidden", "only partner admins may do this")

    return check


async def json_body(request: Request) -> Any:
    """Return the request's JSON.

    :raises ErrorResponse: 400 when the body is not JSON.
    """
    try:
        return parse_json(await request.body())
    except ValueError:
        raise error(400, "malformed_request", "the body is not valid JSON") from None


def number_of(text: str) -> int:
    """Return an id of a path as a number; one that is none belongs to nothing."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def are_ids(value: Any) -> bool:
    """Return whether this is a list of ids."""
    return isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) for one in value
    )


def listed(
    request: Request, manager: AudienceManager, items: list[Any], show: Callable[[Any], dict[str, Any]]
) -> Response:
    """Return a list: an array, or a page in an envelope."""
    query, shape = request.query_params, manager.switches.group_list_shape
    paged = "page" in query or "pageSize" in query
    if shape == "array" or (shape == "array_unless_paged" and not paged):
        return respond(200, [show(item) for item in items])
    page, size = number_of(query.get("page", "0")), number_of(query.get("pageSize", "10"))
    if page < 0 or size < 1:
        raise error(400, "invalid_page", "page and pageSize must be numbers")
    chosen = [show(item) for item in items[page * size : (page + 1) * size]]
    return respond(200, {"total": len(items), "page": page, "pageSize": size, "list": chosen})
