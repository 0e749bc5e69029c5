# SPDX-License-Identifier: Apache-2.0
"""Hooks: a Connection of Airflow turned into a client of Adobe."""
