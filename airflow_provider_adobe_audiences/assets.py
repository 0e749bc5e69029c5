# SPDX-License-Identifier: Apache-2.0
"""What other Dags can be scheduled on."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Asset

from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID


def profile_token_asset(adobe_conn_id: str = DEFAULT_CONN_ID) -> Asset:
    """Return the asset that gets an event whenever a new profile token of this connection is in the store.

    ``schedule=[profile_token_asset()]`` runs a Dag after each rotation. No event carries the token.

    :param adobe_conn_id: connection of type ``adobe`` that the rotation uses.
    :returns: the asset.
    """
    return Asset(f"adobe-target://{adobe_conn_id}/profile-token")
