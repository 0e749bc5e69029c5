# SPDX-License-Identifier: Apache-2.0
"""Target's Profile API: bulk and single updates, and fetching. A profile authentication token opens it.

Sources: "Bulk profile update API", "Update a single profile", "Fetch a profile".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Content,
    Idempotency,
    Response,
    Service,
    path,
)
from airflow_provider_adobe_audiences.adobe.client.problems import TOKEN_REFUSED
from airflow_provider_adobe_audiences.adobe.target.admin import json_object
from airflow_provider_adobe_audiences.adobe.target.xml import MEDIA_TYPE, XmlResponse, read_xml
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeError,
    AdobeNotFoundError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.text import one_line

ProfileIdKind = Literal["thirdPartyId", "tntId", "marketingCloudVisitorId"]

_MAX_SINGLE_UPDATE_BYTES = 60 * 1024
_PROBED_ID = "adobe-provider-probe-of-the-profile-token"


class BatchState(StrEnum):
    """What Adobe says of a batch. Anything else is treated as not finished, until the time is over."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    STUCK = "stuck"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> BatchState:
        return cls.INCOMPLETE

    @property
    def is_terminal(self) -> bool:
        """Whether the state is one that a batch never leaves."""
        return self is not BatchState.INCOMPLETE


@dataclass(frozen=True, slots=True)
class ProfileBatch:
    """A batch of profiles that Adobe accepted.

    :param batch_id: Adobe's id, as the status URL carries it; ``None`` when it carries none.
    :param status_url: where to ask for its status, as Adobe returned it.
    """

    batch_id: str | None
    status_url: str


@dataclass(frozen=True, slots=True)
class ProfileBatchStatus:
    """How far a batch is. Counts are ``None`` where Adobe does not name them.

    :param batch_id: Adobe's id.
    :param status: Adobe's word.
    :param batch_size: number of rows.
    :param consumed: number of rows taken in.
    :param successful: number of profiles set.
    :param not_found: number of profiles that do not exist.
    :param failed: number of rows that failed.
    :param failed_ids: the first few profiles that failed, if Adobe lists them. They identify people, and are
        never part of ``repr``.
    """

    batch_id: str | None
    status: str
    batch_size: int | None = None
    consumed: int | None = None
    successful: int | None = None
    not_found: int | None = None
    failed: int | None = None
    failed_ids: tuple[str, ...] = field(default=(), repr=False)

    @property
    def state(self) -> BatchState:
        """Adobe's word as one of the known states."""
        return BatchState(self.status.strip().lower())


def batch_id_of(status_url: str) -> str | None:
    """Return the id that a status URL carries, fit for a log.

    :param status_url: as Adobe returned it.
    :returns: the id, ``None`` when there is none.
    :raises ValueError: when it is no URL.
    """
    # Percent-decoded, it may hold line breaks and whatever else steers a terminal.
    return one_line(dict(parse_qsl(urlsplit(status_url).query)).get("batchId", "")) or None


def submit_profile_batch(
    client_code: str, content: Content, bearer: str | None = None, version: Literal[1, 2] = 2
) -> Call[ProfileBatch]:
    """Submit a file of profiles. Version 2 creates profiles that are unknown, version 1 counts them.

    Source: "Bulk profile update API".

    :param client_code: Target's client code.
    :param content: the whole body, beginning with ``batch=``.
    :param bearer: the profile authentication token, or ``None`` when the tenant requires none.
    :param version: of the API.
    :returns: the call.
    """
    segment = "/v2" if version == 2 else ""
    return Call(
        name="submit profile batch",
        service=Service.TARGET_EDGE,
        method="POST",
        path=path(f"/m2/{{client}}{segment}/profile/batchUpdate", client=client_code),
        accept=MEDIA_TYPE,
        content=content,
        bearer=bearer,
        idempotency=Idempotency.CREATE,
        parse=_submitted,
    )


def _submitted(response: Response) -> ProfileBatch:
    xml = read_xml(response.body)
    if xml.fields.get("success", "").lower() == "true":
        url = xml.fields.get("batchstatus", "")
        if not url:
            raise ValueError("success without a batchStatus URL")
        return ProfileBatch(batch_id_of(url), url)
    raise _refused(xml)


def _refused(xml: XmlResponse) -> AdobeError:
    """Return the error that a response with ``success`` false means."""
    message = xml.fields.get("message", "")
    if xml.fields.get("success", "").lower() != "false":
        raise ValueError("neither success=true nor success=false")
    # Which status Adobe gives a refused token is not documented; it may come as a plain failure.
    if any(
        word in message.lower() for word in ("token", "forbidden", "unauthor", "authenticat", "access denied")
    ):
        return AdobeAuthenticationError(message, hint=TOKEN_REFUSED)
    return AdobeValidationError(message or "Adobe refused it and gives no reason")


def get_profile_batch_status(status_url: str, bearer: str | None = None) -> Call[ProfileBatchStatus]:
    """Ask for the status of a batch, with its counts.

    Source: "Bulk profile update API".

    :param status_url: as :func:`submit_profile_batch` returned it. It is called as https, and only on a host
        of Target.
    :param bearer: the profile authentication token, or ``None`` when the tenant requires none.
    :returns: the call.
    :raises AdobeConfigurationError: when it is no URL.
    """
    try:
        parts = urlsplit(status_url)
    except ValueError:
        raise AdobeConfigurationError(f"the status URL {status_url[:200]!r} is no URL") from None
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name != "showDetails"
    ]
    url = urlunsplit(
        (parts.scheme, parts.netloc, parts.path, urlencode([*query, ("showDetails", "true")]), "")
    )
    return Call(
        name="get profile batch status",
        service=Service.TARGET_EDGE,
        method="GET",
        path=parts.path,
        url=url,
        accept=MEDIA_TYPE,
        bearer=bearer,
        idempotency=Idempotency.READ,
        parse=_status,
        treat_as_success=(404,),
    )


def _status(response: Response) -> ProfileBatchStatus:
    if response.status == 404:
        raise AdobeNotFoundError(
            "Adobe does not know the batch (any more)",
            hint=(
                "Adobe remembers the status of the last ten batches, for a day at most. Look at the "
                "profiles, or upload again."
            ),
        )
    xml = read_xml(response.body)
    fields = xml.fields
    if not fields.get("status"):
        raise _refused(xml)

    def count(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    return ProfileBatchStatus(
        batch_id=one_line(fields.get("batchid", "")) or None,
        status=one_line(fields["status"]),
        batch_size=count("batchsize"),
        consumed=count("consumedcount"),
        successful=count("successfulupdates"),
        not_found=count("profilesnotfound"),
        failed=count("failedupdates"),
        failed_ids=tuple(xml.failed_ids),
    )


def update_profile(
    client_code: str,
    parameters: Mapping[str, str],
    *,
    third_party_id: str | None = None,
    mbox_pc: str | None = None,
    bearer: str | None = None,
    path_name: str | None = None,
) -> Call[str]:
    """Set attributes of one profile that exists.

    Source: "Update a single profile".

    :param client_code: Target's client code.
    :param parameters: attribute names, without ``profile.``, and their values.
    :param third_party_id: the profile's id of yours; either this or ``mbox_pc``.
    :param mbox_pc: the profile's id of Target's.
    :param bearer: the profile authentication token, or ``None`` when the tenant requires none.
    :param path_name: the word after ``/m2/``; by default the client code. Adobe's page prints the literal
        word ``client``.
    :returns: the call; its result is Adobe's message.
    :raises AdobeConfigurationError: when not exactly one id is given, or the update is larger than Adobe's 60
        KB.
    """
    if (third_party_id is None) == (mbox_pc is None):
        raise AdobeConfigurationError("update_profile: give either third_party_id or mbox_pc")
    identity = {"mbox3rdPartyId": third_party_id} if third_party_id is not None else {"mboxPC": mbox_pc or ""}
    form = identity | {
        f"profile.{name.removeprefix('profile.')}": value for name, value in parameters.items()
    }
    if (size := len(urlencode(form))) > _MAX_SINGLE_UPDATE_BYTES:
        raise AdobeConfigurationError(
            f"update_profile: {size} bytes are more than the 60 KB that Adobe takes"
        )
    return Call(
        name="update profile",
        service=Service.TARGET_EDGE,
        method="POST",
        path=path("/m2/{client}/profile/update", client=path_name or client_code),
        accept=MEDIA_TYPE,
        form=form,
        bearer=bearer,
        idempotency=Idempotency.IDEMPOTENT,
        parse=_updated,
    )


def _updated(response: Response) -> str:
    xml = read_xml(response.body)
    if xml.fields.get("success", "").lower() != "true":
        raise _refused(xml)
    return xml.fields.get("message", "")


def fetch_profile(
    client_code: str,
    profile_id: str,
    kind: ProfileIdKind = "thirdPartyId",
    bearer: str | None = None,
) -> Call[dict[str, Any] | None]:
    """Read one profile.

    Source: "Fetch a profile".

    :param client_code: Target's client code.
    :param profile_id: the id.
    :param kind: which kind of id it is.
    :param bearer: the profile authentication token, or ``None`` when the tenant requires none.
    :returns: the call; its result is ``None`` when there is no such profile.
    :raises AdobeConfigurationError: when ``kind`` is unknown.
    """
    if kind not in get_args(ProfileIdKind):
        raise AdobeConfigurationError(
            f"argument 'kind' is {kind!r}: should be one of {', '.join(get_args(ProfileIdKind))}"
        )
    where = "" if kind == "tntId" else f"/{kind}"
    return _fetch(
        client_code,
        f"{where}/{{profile_id}}",
        profile_id,
        bearer,
        lambda response: None if response.status == 404 else json_object(response, "the profile is"),
        (404,),
    )


def probe_profile_token(client_code: str, bearer: str | None) -> Call[bool]:
    """Find out whether the edge accepts a token, by asking for a profile that cannot exist. Changes nothing,
    is not metered.

    It tells nothing when the tenant requires no token: the edge then accepts everything. Source: "Fetch a
    profile".

    :param client_code: Target's client code.
    :param bearer: the profile authentication token, or ``None`` for none.
    :returns: the call; its result is whether it was accepted.
    """
    return _fetch(
        client_code,
        "/thirdPartyId/{profile_id}",
        _PROBED_ID,
        bearer,
        lambda response: response.status not in (401, 403),
        (401, 403, 404),
    )


def _fetch(
    client_code: str,
    rest: str,
    profile_id: str,
    bearer: str | None,
    parse: Callable[[Response], Any],
    treat_as_success: tuple[int, ...],
) -> Call[Any]:
    return Call(
        name="fetch profile",
        service=Service.TARGET_EDGE,
        method="GET",
        path=path(f"/rest/v1/profiles{rest}", profile_id=profile_id),
        params=[("client", client_code)],
        bearer=bearer,
        idempotency=Idempotency.READ,
        parse=parse,
        treat_as_success=treat_as_success,
    )
