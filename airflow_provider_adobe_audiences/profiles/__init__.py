# SPDX-License-Identifier: Apache-2.0
"""Bulk updates of Target's profiles: rows are checked, encoded, uploaded and waited for."""
