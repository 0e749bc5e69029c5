# SPDX-License-Identifier: Apache-2.0
"""Secrets that Airflow is told of, so that its log hides them."""

from __future__ import annotations

import re
import secrets
from typing import Any

from airflow_provider_adobe_audiences.hooks.adobe import mask, mask_all_forms


def compiled_with(text: str) -> int:
    caches: list[dict[Any, Any]] = [vars(re).get(name, {}) for name in ("_cache", "_cache2")]
    return sum(text in str(key) for cache in caches for key in cache)


def test_what_airflow_compiled_of_earlier_secrets_is_not_kept() -> None:
    tokens = [secrets.token_urlsafe(32) for _ in range(20)]
    for token in tokens:
        mask_all_forms(token)
    assert compiled_with(tokens[0]) == 0


def test_a_secret_that_is_known_costs_other_users_of_re_nothing() -> None:
    token = secrets.token_urlsafe(32)
    mask([token])
    re.compile("kept by re until something purges it")
    mask([token])
    assert compiled_with("kept by re until something purges it") > 0
