# SPDX-License-Identifier: Apache-2.0
"""What Adobe leaves open about Target."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_adobe_audiences.emulator.switches import ServiceSwitches

Endpoint = Literal["fetch", "update", "batchUpdate", "batchStatus"]


class TargetSwitches(ServiceSwitches):
    """Switches of Target."""

    profile_token_seconds: int = Field(
        7_776_000, ge=0, description="life of a profile token (one example's value; unit inferred)"
    )
    debug_token_seconds: int = Field(21_600, ge=0, description="life of a debug token")
    token_created_status: Literal[200, 201] = Field(
        201, description="status of a created token; clients of the old site expected 200"
    )
    token_scope_parameter: Literal["authorizationScope", "scope", "either"] = Field(
        "authorizationScope", description="name of the query parameter; retired pages say `scope`"
    )
    no_token_status: Literal[400, 404] = Field(
        404, description="GET when there is no token, or it has expired (Adobe does not say)"
    )
    expired_token_shown: bool = Field(
        False, description="GET returns an expired token with `expiresIn` 0 instead (Adobe does not say)"
    )
    token_requires_authentication: bool = Field(
        False, description="a token is only created while authentication is required (Adobe does not say)"
    )
    disabling_authentication_drops_token: bool = Field(
        False, description="switching authentication off forgets the token (Adobe does not say)"
    )
    propagation_delay: float = Field(
        0,
        ge=0,
        description=(
            "seconds until the edge learns of a new token; until then the old one works (Adobe does not say)"
        ),
    )
    edge_nodes: int = Field(1, ge=1, description="number of edge nodes, which take turns")
    edge_node_skew: float = Field(
        0,
        ge=0,
        description="each further node learns so many seconds later than the one before (Adobe does not say)",
    )
    authentication_enforced_on: list[Endpoint] = Field(
        ["fetch", "update", "batchUpdate", "batchStatus"],
        description="calls that need the token (sources disagree)",
    )
    token_checked_when_optional: bool = Field(
        False,
        description=(
            "while authentication is not required, a wrong token that is sent is refused all the same (Adobe "
            "does not say)"
        ),
    )
    bad_token_status: Literal["403", "401", "200"] = Field(
        "403", description="missing or wrong token; 200: `success` false, in XML (Adobe does not say)"
    )
    legacy_token_header: bool = Field(
        False, description="the header `access_token` of retired pages is accepted, too"
    )
    missing_permission_status: Literal[0, 401, 403, 500] = Field(
        0,
        description=(
            "the credential lacks the right to manage tokens; 0: it has it (its status is not documented)"
        ),
    )
    patch_status: Literal[200, 404, 405] = Field(
        200, description="status of PATCH of the settings; it was added to the reference in 2026"
    )
    put_resets_omitted_settings: bool = Field(
        True,
        description=(
            "PUT of the settings sets fields that were left out to their defaults (Adobe does not say)"
        ),
    )
    refused_batch_status: Literal[200, 400] = Field(
        200, description="status of a batch that breaks a rule; always `success` false (Adobe does not say)"
    )
    empty_bulk_batch: Literal["skip", "refuse"] = Field(
        "skip",
        description="a bulk update without any value is skipped, or refused (Adobe: skipped or ignored)",
    )
    bulk_v2_replaces: bool = Field(
        True,
        description=(
            "what a bulk update v2 sets replaces what the one before has set, unless the profile was read in "
            "between"
        ),
    )
    profile_batch_polls: int = Field(
        1, ge=0, description="a profile batch is `incomplete` for so many status reads"
    )
    profile_batch_outcome: Literal["complete", "stuck"] = Field(
        "complete", description="what becomes of a batch then"
    )
    profile_batch_failed_rows: int = Field(0, ge=0, description="so many rows of each batch fail")
    profile_batch_failed_rows_listed: bool = Field(
        True, description="the status lists failed rows (pages disagree)"
    )
    batch_status_memory: int = Field(
        10, ge=1, description="the status of so many batches is remembered (a retired page)"
    )
    batch_status_hours: float = Field(24, gt=0, description="and for so many hours")
    batch_status_host: Literal["own", "edge", "foreign"] = Field(
        "own",
        description=(
            "host in the status URL: this emulator, `mboxedge45.tt.omtrdc.net` as Adobe has it, or one "
            "outside Adobe"
        ),
    )
    unknown_batch_status: Literal[200, 404] = Field(
        404, description="status of a batch that is not known, or forgotten (Adobe does not say)"
    )
