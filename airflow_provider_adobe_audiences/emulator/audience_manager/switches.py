# SPDX-License-Identifier: Apache-2.0
"""What Adobe leaves open about Audience Manager."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_adobe_audiences.emulator.switches import ServiceSwitches


class AudienceManagerSwitches(ServiceSwitches):
    """Switches of Audience Manager."""

    aam_prefix: Literal["both", "/api/v1", "/v1"] = Field(
        "both", description="path prefix that exists (Adobe's pages print both); another one: 404"
    )
    aam_trailing_slash: Literal["both", "strict"] = Field(
        "both",
        description=(
            "strict: only the exact form that Adobe's pages print, which is not consistent in itself; "
            "otherwise 404"
        ),
    )
    aam_api_key_required: bool = Field(
        True, description="an IMS token without `x-api-key` is refused with 403000 (code not documented)"
    )
    aam_caller_is_admin: bool = Field(
        True,
        description=(
            "off: the caller is no partner admin, groups and users are refused with 403 (status not "
            "documented)"
        ),
    )
    aam_first_self_creates_user: bool = Field(
        True, description="the first `users/self` of a technical account creates its user; off: 404"
    )
    group_create_status: Literal[200, 201] = Field(
        201, description="status of a created group (not documented)"
    )
    group_put_status: Literal[200, 201] = Field(
        200, description="status of an updated group (not documented; the general table says 201)"
    )
    group_put_without_description: Literal["refuse", "null", "unchanged"] = Field(
        "refuse",
        description=(
            "PUT of a group without `description`: 400, or read as null, or left as it is (not documented)"
        ),
    )
    group_wipe_on_put: bool = Field(
        False,
        description=(
            "PUT of a group drops members, wildcards and permissions (not documented whether it keeps them)"
        ),
    )
    group_name_taken: Literal["allow", "conflict"] = Field(
        "allow", description="a second group of the same name: allowed, or 409 (not documented)"
    )
    group_get_one: bool = Field(True, description="`GET /groups/<id>` exists (not documented); off: 404")
    group_unknown_status: Literal[403, 404] = Field(
        404, description="status for an unknown group id in GET, PUT and DELETE (not documented)"
    )
    group_list_shape: Literal["array_unless_paged", "array", "envelope"] = Field(
        "array_unless_paged",
        description=(
            "envelope `{total, page, pageSize, list}` only with paging parameters, never, or always (not "
            "documented)"
        ),
    )
    group_html_escaping: Literal["off", "unless_header", "always"] = Field(
        "off",
        description=(
            "names and descriptions come back HTML-escaped, unless `AAM-Disable-Escaping-HTML` is sent, or "
            "always (not documented)"
        ),
    )
    permissions_unknown_group_status: Literal[400, 404] = Field(
        400, description="PUT of permissions of an unknown group (not documented)"
    )
    permissions_object_id_as_string: bool = Field(
        False, description="`objectId` of traits is a string in responses, as in one sample"
    )
    bulk_delete_verb: Literal["both", "DELETE", "POST"] = Field(
        "both", description="verb of bulk deletion (pages disagree); another one: 405"
    )
    bulk_delete_unknown_id: Literal["404", "409", "partial"] = Field(
        "404",
        description=(
            "with an unknown id: nothing is deleted and 404 or 409, or the known ones are deleted and 204 "
            "(not documented)"
        ),
    )
    bulk_delete_bad_body: Literal[204, 400] = Field(
        400, description="bulk deletion with a missing, empty or wrong body (not documented)"
    )
    user_admin_as_string: bool = Field(
        False, description="`isAdmin` is a string in responses, as in Adobe's sample"
    )
    legacy_token_seconds: int = Field(
        43_200, description="life of a token of the legacy password grant; -1: for ever"
    )
    legacy_refresh_token: bool = Field(True, description="the client is provisioned for refresh tokens")
