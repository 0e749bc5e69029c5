# SPDX-License-Identifier: Apache-2.0
"""Groups of Adobe Audience Manager: one operator per call, and the sync of declared groups in one task or
with an approval between.
"""

from __future__ import annotations

from airflow_provider_adobe_audiences.operators.audience_manager.calls import (
    AdobeBulkDeleteGroupsOperator,
    AdobeCreateGroupOperator,
    AdobeDeleteGroupOperator,
    AdobeGetGroupOperator,
    AdobeListGroupPermissionsOperator,
    AdobeListGroupsOperator,
    AdobeSetGroupPermissionsOperator,
    AdobeUpdateGroupOperator,
)
from airflow_provider_adobe_audiences.operators.audience_manager.sync import (
    AdobeApplyGroupsPlanOperator,
    AdobePlanGroupsOperator,
    AdobeSyncGroupsOperator,
)

__all__ = [
    "AdobeApplyGroupsPlanOperator",
    "AdobeBulkDeleteGroupsOperator",
    "AdobeCreateGroupOperator",
    "AdobeDeleteGroupOperator",
    "AdobeGetGroupOperator",
    "AdobeListGroupPermissionsOperator",
    "AdobeListGroupsOperator",
    "AdobePlanGroupsOperator",
    "AdobeSetGroupPermissionsOperator",
    "AdobeSyncGroupsOperator",
    "AdobeUpdateGroupOperator",
]
