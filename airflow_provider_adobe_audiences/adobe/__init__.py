# SPDX-License-Identifier: Apache-2.0
"""Adobe's services as plain values and two small drivers that send them. Nothing in here imports Airflow."""
