# SPDX-License-Identifier: Apache-2.0
"""Audience metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import Context

from airflow_provider_adobe_audiences.audiences import IfExists
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import fail_without_retry, with_ids
from airflow_provider_adobe_audiences.tasks.runs import TaskMemory, may_be_of_an_earlier_try
from airflow_provider_adobe_audiences.tasks.validation import (
    PathId,
    Template,
    Text,
    checked,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.experience_platform import Audience
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

from airflow_provider_adobe_audiences.operators.experience_platform.base import (
    AdobeExperiencePlatformOperator,
)


class AdobeCreateAudienceMetadataOperator(AdobeExperiencePlatformOperator):
    """Register the metadata of an external audience whose members another service, such as batch ingestion,
    brings in.

    Looks the audience up first, creates it if it is not there, reads it back. Returns ``{"id",
    "audience_id", "name", "created"}``; ``id`` and ``audience_id`` are XCom keys of their own, too.

    .. seealso:: Adobe's page "Create Audience API Endpoint". Adobe does not document what a second request
        with the same ``audienceId`` does; this operator never relies on it.

    :param name: name of the audience (templated).
    :param namespace: namespace of the audience; Adobe documents no list of values (templated).
    :param origin_name: where the audience comes from; Adobe documents no list of values (templated).
    :param audience_id: your id for the audience (templated). Without it the older request is sent, in which
        Adobe makes up the id, and an existing audience is found by its name, namespace and origin.
    :param description: free text (templated).
    :param if_exists: ``skip`` accepts an existing audience, ``update`` changes its name and description,
        ``fail`` fails.
    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (
        *AdobeExperiencePlatformOperator.template_fields,
        "name",
        "namespace",
        "origin_name",
        "audience_id",
        "description",
    )

    def __init__(
        self,
        *,
        name: Text | Template,
        namespace: Text | Template,
        origin_name: Text | Template,
        audience_id: PathId | Template | None = None,
        description: str | Template | None = None,
        if_exists: IfExists = "skip",
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(sandbox=sandbox, adobe_conn_id=adobe_conn_id, **kwargs)
        self.name: Any = name
        self.namespace: Any = namespace
        self.origin_name: Any = origin_name
        self.audience_id: Any = audience_id
        self.description: Any = description
        self.if_exists = if_exists
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the audience exist as declared.

        :param context: the task's context.
        :returns: its ids, its name, and whether this task has made it.
        """
        from airflow_provider_adobe_audiences.audiences.ensure import AudienceMetadata

        with fail_without_retry():
            self.check_arguments()
            fields = ("name", "namespace", "origin_name", "audience_id", "description", "if_exists")
            wanted = checked(
                AudienceMetadata, {field: getattr(self, field) for field in fields}, type(self).__name__
            )
            memory = TaskMemory(context)
            earlier = memory.get("adobe_audience") or {}

            def is_ours(audience: Audience) -> bool:
                if memory.is_kept:
                    return bool(earlier) and earlier.get("audience_id") in (None, audience.audience_id)
                return wanted.is_met_by(audience) and may_be_of_an_earlier_try(context, audience.created_at)

            result = self.hook.ensure_audience_metadata(
                wanted,
                is_ours=is_ours,
                remember=lambda known: memory.set("adobe_audience", known or earlier),
            )
            return with_ids(context, result)
