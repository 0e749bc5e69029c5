# SPDX-License-Identifier: Apache-2.0
"""Catalog API: ``/data/foundation/catalog``, datasets."""

from __future__ import annotations

import asyncio
import copy
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import bad_request, not_found
from airflow_provider_adobe_audiences.emulator.experience_platform.models.datasets import Dataset
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import (
    DatasetBody,
    DatasetExtensionsBody,
    PatchBody,
    problem_of,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.requests import json_object, json_value
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import described

from .catalog_query import LISTS, project, select

EQUAL = ("name", "description", "version", "createdClient", "createdUser", "updatedUser")
NUMBERS = ("created", "updated")
OBSERVED_ROWS = 100
#: What a client cannot change.
SYSTEM_FIELDS = {"id", "imsOrg", "sandboxId", "version", "created", "createdClient", "createdUser"}

routes = APIRouter(prefix="/data/foundation/catalog", tags=["Catalog"])


@routes.get("/dataSets", openapi_extra=described(query=[*LISTS, *EQUAL, *NUMBERS]))
async def list_datasets(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """List datasets, filtered, sorted and in pages."""
    query = request.query_params
    found = [(one.id, _describe(platform, caller, one)) for one in platform.datasets.of(caller)]
    page = select(found, query, equal=EQUAL, numbers=NUMBERS, limit=platform.switches.catalog_limit)
    return respond(200, {number: project(document, query) for number, document in page})


@routes.post("/dataSets", openapi_extra=described(body=DatasetBody))
@routes.post("/dataSets/", openapi_extra=described(body=DatasetBody))  # as Adobe's own aepp has it
async def create_dataset(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Create a dataset."""
    body = await _object(request)
    if not isinstance(body.get("name"), str) or not body["name"].strip():
        raise bad_request("name is required.")
    dataset = platform.datasets.create(caller, _checked(body))
    path = f"@/dataSets/{dataset.id}"
    return respond(201, [path], {"location": f"{platform.url}{request.url.path}/{dataset.id}"})


@routes.get("/dataSets/{dataset_id}", openapi_extra=described(query=["properties"]))
async def get_dataset(
    request: Request, dataset_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Look a dataset up."""
    dataset = _find(platform, caller, dataset_id)
    document = _describe(platform, caller, dataset)
    if "observableSchema" in request.query_params.get("properties", "").split(","):
        document["observableSchema"] = await asyncio.to_thread(_observable_schema, platform, dataset.id)
    return respond(200, {dataset.id: project(document, request.query_params)})


@routes.patch("/dataSets/{dataset_id}", openapi_extra=described(body=DatasetBody))
async def patch_dataset(
    request: Request, dataset_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Change a dataset: some fields, or JSON Patch operations."""
    dataset = _find(platform, caller, dataset_id)
    try:
        body = await json_value(request)
    except ErrorResponse as error:
        raise bad_request(error.body["message"]) from None
    document = copy.deepcopy({"name": dataset.name, **dataset.document})
    if isinstance(body, list):
        for operation in body:
            problem = problem_of(PatchBody, operation)
            if problem:
                raise bad_request(problem)
            apply_operation(document, operation)
    elif isinstance(body, dict):
        document |= body
    else:
        raise bad_request("the body must be an object, or an array of operations")
    kept = {name: value for name, value in document.items() if name not in SYSTEM_FIELDS}
    system = {name: value for name, value in dataset.document.items() if name in SYSTEM_FIELDS}
    platform.datasets.change(caller, dataset, _checked(kept) | system)
    return respond(200, [f"@/dataSets/{dataset.id}"])


@routes.put("/dataSets/{dataset_id}", openapi_extra=described(body=DatasetBody))
async def put_dataset(
    request: Request, dataset_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Replace what a client can set of a dataset."""
    dataset = _find(platform, caller, dataset_id)
    system = {name: value for name, value in dataset.document.items() if name in SYSTEM_FIELDS}
    platform.datasets.change(caller, dataset, _checked(await _object(request)) | system)
    return respond(200, [f"@/dataSets/{dataset.id}"])


@routes.delete("/dataSets/{dataset_id}")
async def delete_dataset(dataset_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Delete a dataset with its data."""
    dataset = _find(platform, caller, dataset_id)
    platform.datasets.datasets.pop(dataset.id, None)
    for batch in platform.batches.of(caller):
        if batch.dataset_id == dataset.id:
            platform.batches.set_state(batch, "deleted")
    return respond(200, [f"@/dataSets/{dataset.id}"])


@routes.patch("/v2/dataSets/{dataset_id}", openapi_extra=described(body={"type": "object"}))
async def patch_dataset_v2(
    request: Request, dataset_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Set how long the rows of a dataset are kept."""
    dataset, body = _find(platform, caller, dataset_id), await _object(request)
    problem = problem_of(DatasetExtensionsBody, body)
    if problem:
        raise bad_request(problem)
    platform.datasets.change(caller, dataset, dataset.document | {"extensions": body["extensions"]})
    return respond(200, [f"@/dataSets/{dataset.id}"])


def _observable_schema(platform: ExperiencePlatform, dataset_id: str) -> dict[str, Any]:
    """Return the fields that rows of the dataset have."""
    names = {name for _, row in islice(platform.rows(dataset_id), OBSERVED_ROWS) for name in row}
    return {"type": "object", "properties": {name: {"meta:xdmType": "unknown"} for name in sorted(names)}}


def apply_operation(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Apply one JSON Patch operation to an object, in place.

    :raises ErrorResponse: 400 when its path leads nowhere.
    """
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
    node: Any = document
    for step in way:
        node = node.setdefault(step, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise bad_request(f"There is nothing at {operation['path'][:100]}.")
    if operation["op"] == "remove":
        node.pop(last, None)
    else:
        node[last] = operation.get("value")


async def _object(request: Request) -> dict[str, Any]:
    try:
        return await json_object(request)
    except ErrorResponse as error:
        raise bad_request(error.body["message"]) from None


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    problem = problem_of(DatasetBody, body)
    if problem:
        raise bad_request(problem)
    return {name: value for name, value in body.items() if name in DatasetBody.model_fields}


def _find(platform: ExperiencePlatform, caller: Caller, dataset_id: str) -> Dataset:
    dataset = platform.datasets.find(dataset_id, caller)
    if dataset is None:
        raise not_found("DataSet not found.")
    return dataset


def _describe(platform: ExperiencePlatform, caller: Caller, dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as Catalog shows it."""
    document = {
        "name": dataset.name,
        "imsOrg": caller.org_id,
        "version": "1.0.0",
        "tags": {"unifiedProfile": ["enabled:true"]},
        "classification": {"managedBy": "CUSTOMER"},
        "files": f"@/dataSetFiles?dataSetId={dataset.id}",
        **dataset.document,
    }
    last = platform.batches.last(caller, dataset.id)
    names = {
        "lastBatchId": "lastBatchId",
        "lastBatchStatus": "lastBatchStatus",
        "lastSuccessfulBatch": "lastSuccessfulBatchId",
        "lastFailedBatch": "lastFailedBatchId",
    }
    return document | {name: last[key] for name, key in names.items() if key in last}
