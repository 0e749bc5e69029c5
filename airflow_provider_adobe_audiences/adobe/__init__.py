# SPDX-License-Identifier: Apache-2.0
"""Adobe's services as plain values and two small transports. Nothing in here imports Airflow."""
