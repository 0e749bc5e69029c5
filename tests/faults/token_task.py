# SPDX-License-Identifier: Apache-2.0
"""A task in a process of its own that needs a token. Without pytest, which a thousand processes would load
one after the other.
"""

from __future__ import annotations

import os
from typing import Any

from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.experience_platform import list_batches


def a_task(order: tuple[dict[str, str], dict[str, Any]]) -> int:
    """Do what every task of ours does first: ask Adobe something, and return how much there is."""
    environment, fields = order
    os.environ.update(environment)
    with AdobeSession(AdobeSettings.of(fields)) as session:
        return len(session.send(list_batches(external_id="nothing")))
