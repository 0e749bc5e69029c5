# SPDX-License-Identifier: Apache-2.0
"""What the operators of Experience Platform share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from airflow.providers.common.compat.sdk import Context
from pydantic import Field, SkipValidation

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, push_ids
from airflow_provider_adobe_audiences.tasks.runs import TaskMemory, derived_id
from airflow_provider_adobe_audiences.tasks.validation import (
    Template,
    Text,
    checked,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.experience_platform import Batch
    from airflow_provider_adobe_audiences.batches.ingest import BatchRequest
    from airflow_provider_adobe_audiences.batches.source import SourceFile
    from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

# Adobe's guardrails, which importing the client only for them would be dear.
PartSize = Annotated[int, Field(ge=1, le=512_000_000)]
DEFAULT_PART_SIZE = 256_000_000
NOTHING_TO_SEND = "There is nothing to send: source names no file that is not empty."
Percent = Annotated[int, Field(ge=0, le=100)]
Tags = Mapping[str, list[str]]
Uploads = Annotated[Mapping[str, Any] | Sequence[Mapping[str, Any]], SkipValidation]


class AdobeExperiencePlatformOperator(AdobeOperator):
    """Base of the operators of this module.

    :param sandbox: another sandbox than the connection's (templated).
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "sandbox")

    def __init__(
        self,
        *,
        sandbox: Text | Template | None = None,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.sandbox: Any = sandbox

    @cached_property
    def hook(self) -> AdobeExperiencePlatformHook:
        """The hook of this task's connection and sandbox."""
        from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook

        return AdobeExperiencePlatformHook(self.adobe_conn_id, sandbox=self.sandbox)


class SourceOperator(AdobeExperiencePlatformOperator):
    """What the operators that read files for a dataset share."""

    template_fields: Sequence[str] = (
        *AdobeExperiencePlatformOperator.template_fields,
        "dataset_id",
        "source",
        "file_format",
    )

    dataset_id: Any
    source: Any
    file_format: Any
    is_multi_line_json: bool
    if_empty: str
    allowed_sources: Sequence[str] | None
    _empty_hint = "if_empty='skip' or 'succeed'"

    def _files(self) -> list[SourceFile]:
        from airflow_provider_adobe_audiences.tasks.files import check_first_bytes, resolve

        files = resolve(
            self.source,
            self.file_format,
            if_empty=self.if_empty,
            empty_hint=self._empty_hint,
            allowed_sources=self.allowed_sources,
        )
        check_first_bytes(files, self.file_format, is_multi_line_json=self.is_multi_line_json)
        return files


class BatchOperator(SourceOperator):
    """What the operators that begin a batch share."""

    template_fields: Sequence[str] = (*SourceOperator.template_fields, "external_id", "tags")

    external_id: Any
    tags: Any
    enable_error_diagnostics: bool
    partial_ingestion_percent: int | None
    _batch_id: str | None = None
    _memory: TaskMemory | None = None

    def _request(self, context: Context) -> BatchRequest:
        from airflow_provider_adobe_audiences.batches.ingest import BatchRequest

        settings = self.hook.settings
        derived = derived_id(context, settings.deployment, settings.sandbox, str(self.dataset_id))
        return checked(
            BatchRequest,
            {
                "dataset_id": self.dataset_id,
                "external_id": derived if self.external_id is None else self.external_id,
                "file_format": self.file_format,
                "is_multi_line_json": self.is_multi_line_json,
                "tags": self.tags or {},
                "enable_error_diagnostics": self.enable_error_diagnostics,
                "partial_ingestion_percent": self.partial_ingestion_percent,
            },
            type(self).__name__,
        )

    def _is_first_try(self, context: Context) -> bool:
        """Whether nothing can have worked under the batch's id before, as far as that is known."""
        if self.external_id is not None or context["ti"].try_number > 1:
            return False
        return not TaskMemory(context).has_batch

    def _note(self, context: Context) -> Callable[[Batch], None]:
        from airflow_provider_adobe_audiences.adobe.experience_platform import BatchState

        self._memory = memory = TaskMemory(context)

        def note(batch: Batch) -> None:
            self._batch_id = batch.id
            is_new_or_half = batch.state is BatchState.LOADING
            memory.take(batch.id, is_filled=False if is_new_or_half else memory.is_filled(batch.id))
            push_ids(context, batch_id=batch.id, external_id=batch.external_id)

        return note

    def _note_filled(self, batch: Batch) -> None:
        if self._memory is not None:
            self._memory.take(batch.id, is_filled=True)

    def _is_filled(self, batch: Batch) -> bool | None:
        return None if self._memory is None else self._memory.is_filled(batch.id)
