# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the Admin API (profile authentication token, client settings) and the Profile API that the
token opens.
"""

from __future__ import annotations

from airflow_provider_adobe_audiences.adobe.target.admin import (
    AUTHENTICATION_SETTING,
    MEDIA_TYPE,
    ProfileToken,
    TokenScope,
    create_profile_token,
    explain_permission,
    explained,
    get_profile_token,
    get_settings,
    patch_settings,
    replace_settings,
)
from airflow_provider_adobe_audiences.adobe.target.profiles import (
    BatchState,
    ProfileBatch,
    ProfileBatchStatus,
    ProfileIdKind,
    fetch_profile,
    get_profile_batch_status,
    probe_profile_token,
    submit_profile_batch,
    update_profile,
)
from airflow_provider_adobe_audiences.adobe.target.xml import XmlResponse, read_xml

__all__ = [
    "AUTHENTICATION_SETTING",
    "MEDIA_TYPE",
    "BatchState",
    "ProfileBatch",
    "ProfileBatchStatus",
    "ProfileIdKind",
    "ProfileToken",
    "TokenScope",
    "XmlResponse",
    "create_profile_token",
    "explain_permission",
    "explained",
    "fetch_profile",
    "get_profile_batch_status",
    "get_profile_token",
    "get_settings",
    "patch_settings",
    "probe_profile_token",
    "read_xml",
    "replace_settings",
    "submit_profile_batch",
    "update_profile",
]
