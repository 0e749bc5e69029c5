# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform: audience metadata, and batch ingestion in one task or spread over workers."""

from airflow_provider_adobe_audiences.operators.experience_platform.audiences import (
    AdobeCreateAudienceMetadataOperator,
)
from airflow_provider_adobe_audiences.operators.experience_platform.base import (
    AdobeExperiencePlatformOperator,
)
from airflow_provider_adobe_audiences.operators.experience_platform.batches import (
    AdobeAbortBatchOperator,
    AdobeCompleteBatchOperator,
    AdobeCreateBatchOperator,
    AdobeDownloadFailedRowsOperator,
    AdobeUploadBatchFilesOperator,
)
from airflow_provider_adobe_audiences.operators.experience_platform.ingest import AdobeIngestBatchOperator

__all__ = [
    "AdobeAbortBatchOperator",
    "AdobeCompleteBatchOperator",
    "AdobeCreateAudienceMetadataOperator",
    "AdobeCreateBatchOperator",
    "AdobeDownloadFailedRowsOperator",
    "AdobeExperiencePlatformOperator",
    "AdobeIngestBatchOperator",
    "AdobeUploadBatchFilesOperator",
]
