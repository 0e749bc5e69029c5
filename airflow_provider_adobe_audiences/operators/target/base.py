# SPDX-License-Identifier: Apache-2.0
"""What the operators of Adobe Target share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook


class AdobeTargetOperator(AdobeOperator):
    """Base of the operators of this module."""

    store: SecretStore | None = None

    @cached_property
    def hook(self) -> AdobeTargetHook:
        """The hook of the connection, with the store of the profile token."""
        from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook

        return AdobeTargetHook(self.adobe_conn_id, self.store)
