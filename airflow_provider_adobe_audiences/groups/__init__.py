# SPDX-License-Identifier: Apache-2.0
"""Groups and permissions of Audience Manager, declared and made true: spec, plan, guards, apply, report.
Nothing here imports Airflow.
"""
