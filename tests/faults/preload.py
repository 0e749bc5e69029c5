# SPDX-License-Identifier: Apache-2.0
"""Everything that a task's process would otherwise load for itself; imported once, by the server that those
are forked from.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import contextlib
import gc
import importlib
import pkgutil

import httpx  # noqa: F401
import pyarrow.parquet  # noqa: F401
import requests  # noqa: F401
import yaml  # noqa: F401
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath

import tests.faults.rows
import tests.faults.task  # noqa: F401
from airflow_provider_adobe_audiences.assets import profile_token_asset

for _module in (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.context",
):  # where connections are looked up in 3.x
    with contextlib.suppress(ImportError):
        importlib.import_module(_module)
# The package imports most of itself inside functions.
for _part in (
    "adobe",
    "audiences",
    "batches",
    "groups",
    "hooks",
    "profiles",
    "rotation",
    "tasks",
    "triggers",
):
    _package = importlib.import_module(f"airflow_provider_adobe_audiences.{_part}")
    for _found in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        with contextlib.suppress(ImportError):
            importlib.import_module(_found.name)
DAG("preload", schedule=None).get_template_env()
# The first file and the first asset have Airflow load the file systems and the assets of all providers.
with ObjectStoragePath(__file__).open() as _file:
    _file.read(1)
profile_token_asset("preload")
gc.freeze()
