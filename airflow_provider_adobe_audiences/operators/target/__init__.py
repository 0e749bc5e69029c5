# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the profile authentication token, whether it is required, and the bulk update that lives on
it.
"""

from __future__ import annotations

from airflow_provider_adobe_audiences.operators.target.base import AdobeTargetOperator
from airflow_provider_adobe_audiences.operators.target.bulk import AdobeBulkProfileUpdateOperator
from airflow_provider_adobe_audiences.operators.target.token import (
    AdobeRotateProfileTokenOperator,
    AdobeSetProfileAuthenticationOperator,
)

__all__ = [
    "AdobeBulkProfileUpdateOperator",
    "AdobeRotateProfileTokenOperator",
    "AdobeSetProfileAuthenticationOperator",
    "AdobeTargetOperator",
]
