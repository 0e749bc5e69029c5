# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform, Audience Manager and Target audiences for Apache Airflow."""

__version__ = "0.1.0"
