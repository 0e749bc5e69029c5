# SPDX-License-Identifier: Apache-2.0
"""What the operators of Audience Manager share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.groups.changes import Result
    from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook


class GroupsOperator(AdobeOperator):
    """Base of the operators of Audience Manager."""

    @cached_property
    def hook(self) -> AdobeAudienceManagerHook:
        """The hook of the task's connection."""
        from airflow_provider_adobe_audiences.hooks.audience_manager import AdobeAudienceManagerHook

        return AdobeAudienceManagerHook(self.adobe_conn_id)

    def log_result(self, result: Result) -> None:
        """Log what became of a change.

        :param result: what became of it.
        """
        from airflow_provider_adobe_audiences.groups.report import result_line

        self.log.info("%s", result_line(result))
