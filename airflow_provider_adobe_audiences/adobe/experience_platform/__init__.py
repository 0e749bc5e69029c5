# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform, one module per API; what they offer is gathered here."""

from airflow_provider_adobe_audiences.adobe.experience_platform.audiences import (
    EXTERNAL_AUDIENCES_V2,
    Audience,
    AudiencePage,
    create_audience_metadata,
    list_audiences,
    patch_audience,
)
from airflow_provider_adobe_audiences.adobe.experience_platform.batches import (
    MAX_FILES,
    MAX_PART_BYTES,
    MAX_WHOLE_FILE_BYTES,
    abort_batch,
    complete_batch,
    complete_file,
    create_batch,
    get_received_bytes,
    initialize_file,
    upload_file,
    upload_part,
)
from airflow_provider_adobe_audiences.adobe.experience_platform.catalog import (
    BATCH_LISTING,
    MAX_LISTED_BATCHES,
    Batch,
    BatchState,
    get_batch,
    get_batches,
    list_batches,
)
from airflow_provider_adobe_audiences.adobe.experience_platform.data_access import (
    FailedFile,
    get_failed_file,
    list_failed_files,
)

__all__ = [
    "BATCH_LISTING",
    "EXTERNAL_AUDIENCES_V2",
    "MAX_FILES",
    "MAX_LISTED_BATCHES",
    "MAX_PART_BYTES",
    "MAX_WHOLE_FILE_BYTES",
    "Audience",
    "AudiencePage",
    "Batch",
    "BatchState",
    "FailedFile",
    "abort_batch",
    "complete_batch",
    "complete_file",
    "create_audience_metadata",
    "create_batch",
    "get_batch",
    "get_batches",
    "get_failed_file",
    "get_received_bytes",
    "initialize_file",
    "list_audiences",
    "list_batches",
    "list_failed_files",
    "patch_audience",
    "upload_file",
    "upload_part",
]
