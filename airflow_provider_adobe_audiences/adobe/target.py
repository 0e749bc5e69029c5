# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the profile authentication token, client settings, and the profile API that the token opens.

Sources: Target Admin API reference ("Authentication", "Clients"), "Profile API settings", "Bulk profile
update API", "Update a single profile", "Fetch a profile".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobePermissionError,
    AdobeServerError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
    error_at,
)
from airflow_provider_adobe_audiences.text import seen

MEDIA_TYPE = "application/vnd.adobe.target.v1+json"
XML = "text/xml"

TokenScope = Literal["profile_api", "debug_tools"]
ProfileKey = Literal["thirdPartyId", "pcId"]
ProfileIdKind = Literal["thirdPartyId", "tntId", "marketingCloudVisitorId"]

TOKEN_REFUSED = "Target refused the profile authentication token: rotate or adopt it, then run again."  # noqa: S105

_MAX_SINGLE_UPDATE_BYTES = 60 * 1024
_EXAMPLES = 20


# ------------------------------------------------------------------------------------------------- profile
# authentication token


@dataclass(frozen=True, slots=True)
class ProfileToken:
    """The one profile authentication token of a tenant.

    :param value: the secret itself; never part of ``repr``.
    :param expires_in: seconds that were left when Adobe answered.
    """

    value: str = field(repr=False)
    expires_in: int
    scope: str = "profile_api"


def get_profile_token(tenant: str, scope: TokenScope = "profile_api") -> Call[ProfileToken | None]:
    """Read the token that exists (Admin API, ``getAuthorizationToken``). Adobe returns it in clear.

    Returns ``None`` when there is none. Changes nothing.
    """
    return Call(
        name="get profile token",
        service=Service.TARGET,
        method="GET",
        path=path("/{tenant}/target/authentication/token", tenant=tenant),
        params=[("authorizationScope", scope)],
        accept=MEDIA_TYPE,
        idempotency=Idempotency.READ,
        parse=lambda response: None if response.status == 404 else _token(response),
        treat_as_success=(404,),
    )


def create_profile_token(tenant: str, scope: TokenScope = "profile_api") -> Call[ProfileToken]:
    """Create a new token (Admin API, ``requestAuthorizationToken``). The previous one stops working **at
    once**.

    Adobe takes no key that would make a repetition harmless. When the outcome is unknown, read the token and
    compare.
    """
    return Call(
        name="create profile token",
        service=Service.TARGET,
        method="POST",
        path=path("/{tenant}/target/authentication/token", tenant=tenant),
        params=[("authorizationScope", scope)],
        accept=MEDIA_TYPE,
        headers={"Content-Type": MEDIA_TYPE},
        idempotency=Idempotency.CREATE,
        parse=_token,
    )


def _token(response: Response) -> ProfileToken:
    try:
        body = response.json()
        value, expires_in = body["accessToken"], int(body["expiresIn"])
    except (ValueError, KeyError, TypeError):
        # The body may hold the token: nothing of it goes into a message.
        raise ValueError("no accessToken and expiresIn in it") from None
    if (
        not isinstance(value, str)
        or not value
        or not value.isascii()
        or any(character.isspace() for character in value)
    ):
        raise ValueError("its accessToken is not a text that fits into a header")
    return ProfileToken(value, expires_in, str(body.get("scope", "profile_api")))


# ------------------------------------------------------------------------------------------------------------
# client settings

AUTHENTICATION_SETTING = "enableProfileApiAuthentication"


def get_settings(tenant: str) -> Call[dict[str, Any]]:
    """Read the settings of the tenant (Admin API, ``getSettings_1``)."""
    return _settings_call(tenant, "get client settings", "GET", None, Idempotency.READ)


def patch_settings(tenant: str, changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Change single settings (Admin API, ``patchSettings``); the others stay. Returns all of them."""
    return _settings_call(tenant, "change client settings", "PATCH", dict(changes), Idempotency.IDEMPOTENT)


def replace_settings(tenant: str, settings: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Replace all settings (Admin API, ``updateSettings_1``). What becomes of a setting left out is not
    documented: send them all.
    """
    return _settings_call(tenant, "replace client settings", "PUT", dict(settings), Idempotency.IDEMPOTENT)


def _settings_call(
    tenant: str, name: str, method: str, body: dict[str, Any] | None, idempotency: Idempotency
) -> Call[dict[str, Any]]:
    return Call(
        name=name,
        service=Service.TARGET,
        method=method,
        path=path("/{tenant}/target/clients/settings", tenant=tenant),
        accept=MEDIA_TYPE,
        headers={} if body is None else {"Content-Type": MEDIA_TYPE},
        json=body,
        idempotency=idempotency,
        parse=_settings,
    )


def _settings(response: Response) -> dict[str, Any]:
    body = response.json()
    if not isinstance(body, dict):
        raise ValueError("the settings are not a JSON object")
    return body


def explain_permission(error: AdobeError) -> AdobeError:
    """Return ``error`` of an Admin API call with what to do, if it may be a missing permission.

    Adobe documents 401 and 403 for that, and its own client's README adds 500; a 401 of the gateway is about
    the access token instead.
    """
    hint = (
        "The credential probably lacks the permission: in the Adobe Admin Console add it to a Target product "
        "profile (and workspace) "
        "with the role Approver or Admin."
    )
    cause = error.__cause__ if isinstance(error, AdobeUnknownOutcomeError) else error
    if (
        isinstance(cause, AdobeAuthenticationError)
        and cause.status == 401
        and not (cause.code or "").isdigit()
    ):
        better = AdobePermissionError(cause.message, hint=hint)
        better.__dict__.update({name: value for name, value in cause.__dict__.items() if name != "hint"})
        return better
    if isinstance(cause, AdobePermissionError) and not (cause.code or "").isdigit():
        error.hint = hint
    elif isinstance(cause, AdobeServerError) and cause.status == 500:
        error.hint = (
            f"Let the task retry. If it lasts, this 500 is most likely a permission in disguise. {hint}"
        )
    return error


# -----------------------------------------------------------------------------------------------------------
# bulk profile update


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

    :param status: Adobe's word.
    :param failed_ids: the first few profiles that failed, if Adobe lists them.
    """

    batch_id: str | None
    status: str
    batch_size: int | None = None
    consumed: int | None = None
    successful: int | None = None
    not_found: int | None = None
    failed: int | None = None
    failed_ids: tuple[str, ...] = ()

    @property
    def state(self) -> BatchState:
        return BatchState(self.status.strip().lower())


def outcome(batch: Mapping[str, Any], status: ProfileBatchStatus) -> dict[str, Any]:
    """Return what is known of a batch that ended, as JSON.

    :param batch: ``batch_id``, ``status_url`` and ``rows`` of the upload.
    """
    failed = status.failed
    if failed is None and status.batch_size is not None and status.successful is not None:
        failed = status.batch_size - status.successful - (status.not_found or 0)
    return {
        **{name: batch[name] for name in ("batch_id", "status_url", "rows")},
        "status": status.status,
        "successful": status.successful,
        "not_found": status.not_found,
        "failed": failed,
        "failed_ids": list(status.failed_ids),
    }


def check_outcome(
    outcomes: Sequence[Mapping[str, Any]], max_failed_rows: int | None, max_not_found: int | None
) -> None:
    """Raise :class:`AdobeJobFailedError` unless every batch is complete and its counts are acceptable.

    ``complete`` alone does not mean that every row worked.

    :param max_failed_rows: how many rows may have failed in all; ``None`` for any number.
    :param max_not_found: how many profiles may have been unknown in all; ``None`` for any number.
    """
    for batch in outcomes:
        if BatchState(str(batch["status"]).strip().lower()) is not BatchState.COMPLETE:
            raise AdobeJobFailedError(
                f"batch {batch['batch_id']} ended as {batch['status']!r}",
                hint="Adobe could not finish it. Run the task again: it uploads the rows anew.",
            )
    for what, most in (("failed", max_failed_rows), ("not_found", max_not_found)):
        counts = [batch[what] for batch in outcomes]
        if most is None:
            continue
        words = {"failed": "rows failed", "not_found": "profiles were not found"}[what]
        if any(count is None for count in counts):
            raise AdobeJobFailedError(
                f"Adobe does not say how many {words}",
                hint=f"Set max_{what} to None to accept a batch without its counts.",
            )
        if sum(counts) > most:
            examples = [identity for batch in outcomes for identity in batch.get("failed_ids", ())][:5]
            named = f" (such as {', '.join(examples)})" if examples and what == "failed" else ""
            batches = ", ".join(str(batch["batch_id"]) for batch in outcomes)
            raise AdobeJobFailedError(
                f"{sum(counts)} {words}{named} in {batches}; {most} are acceptable",
                hint=f"Correct these rows and run again, or raise max_{what}.",
            )


def submit_profile_batch(
    client_code: str, content: Content, bearer: str | None, version: Literal[1, 2] = 2
) -> Call[ProfileBatch]:
    """Submit a file of profiles ("Bulk profile update API"). Version 2 creates profiles that are unknown,
    version 1 counts them.

    :param content: the whole body, beginning with ``batch=``.
    :param bearer: the profile authentication token, or ``None`` when the tenant requires none.
    """
    segment = "/v2" if version == 2 else ""
    call: Call[ProfileBatch] = Call(
        name="submit profile batch",
        service=Service.TARGET_EDGE,
        method="POST",
        path=path(f"/m2/{{client}}{segment}/profile/batchUpdate", client=client_code),
        accept=XML,
        content=content,
        bearer=bearer,
        idempotency=Idempotency.CREATE,
        parse=lambda response: _submitted(call, response),
    )
    return call


def _submitted(call: Call[Any], response: Response) -> ProfileBatch:
    answer = read_xml(response.body)
    if answer.fields.get("success", "").lower() == "true":
        url = answer.fields.get("batchstatus", "")
        if not url:
            raise ValueError("success without a batchStatus URL")
        return ProfileBatch(dict(parse_qsl(urlsplit(url).query)).get("batchId"), url)
    raise _refused(call, response, answer)


def _refused(call: Call[Any], response: Response, answer: XmlResponse) -> AdobeError:
    """Return the error that an answer with ``success`` false means."""
    message = answer.fields.get("message", "")
    if answer.fields.get("success", "").lower() != "false":
        raise ValueError("neither success=true nor success=false")
    # Which status Adobe gives a refused token is not documented; it may come as a plain failure.
    if any(
        word in message.lower() for word in ("token", "forbidden", "unauthor", "authenticat", "access denied")
    ):
        return error_at(AdobeAuthenticationError, call, message, status=response.status, hint=TOKEN_REFUSED)
    return error_at(
        AdobeValidationError, call, message or "Adobe refused it and gives no reason", status=response.status
    )


def get_profile_batch_status(status_url: str, bearer: str | None) -> Call[ProfileBatchStatus]:
    """Ask for the status of a batch, with its counts ("Bulk profile update API").

    :param status_url: as :func:`submit_profile_batch` returned it. It is called as https, and only on a host
        of Target.
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
    call: Call[ProfileBatchStatus] = Call(
        name="get profile batch status",
        service=Service.TARGET_EDGE,
        method="GET",
        path=parts.path,
        url=url,
        accept=XML,
        bearer=bearer,
        idempotency=Idempotency.READ,
        parse=lambda response: _status(call, response),
        treat_as_success=(404,),
    )
    return call


def _status(call: Call[Any], response: Response) -> ProfileBatchStatus:
    if response.status == 404:
        raise error_at(
            AdobeNotFoundError,
            call,
            "Adobe does not know the batch (any more)",
            status=404,
            hint=(
                "Adobe remembers the status of the last ten batches, for a day at most. Look at the "
                "profiles, or upload again."
            ),
        )
    answer = read_xml(response.body)
    fields = answer.fields
    if not fields.get("status"):
        raise _refused(call, response, answer)

    def count(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    return ProfileBatchStatus(
        batch_id=fields.get("batchid"),
        status=fields["status"],
        batch_size=count("batchsize"),
        consumed=count("consumedcount"),
        successful=count("successfulupdates"),
        not_found=count("profilesnotfound"),
        failed=count("failedupdates"),
        failed_ids=tuple(answer.failed_ids),
    )


# ------------------------------------------------------------------------------------------------------------
# single profiles


def update_profile(
    client_code: str,
    parameters: Mapping[str, str],
    *,
    third_party_id: str | None = None,
    mbox_pc: str | None = None,
    bearer: str | None = None,
    path_name: str | None = None,
) -> Call[str]:
    """Set attributes of one profile that exists ("Update a single profile"). Returns Adobe's message.

    :param parameters: attribute names, without ``profile.``, and their values.
    :param path_name: the word after ``/m2/``; by default the client code. Adobe's page prints the literal
        word ``client``.
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
    call: Call[str] = Call(
        name="update profile",
        service=Service.TARGET_EDGE,
        method="POST",
        path=path("/m2/{client}/profile/update", client=path_name or client_code),
        accept=XML,
        form=form,
        bearer=bearer,
        idempotency=Idempotency.IDEMPOTENT,
        parse=lambda response: _updated(call, response),
    )
    return call


def _updated(call: Call[Any], response: Response) -> str:
    answer = read_xml(response.body)
    if answer.fields.get("success", "").lower() != "true":
        raise _refused(call, response, answer)
    return answer.fields.get("message", "")


def fetch_profile(
    client_code: str,
    profile_id: str,
    kind: ProfileIdKind = "thirdPartyId",
    bearer: str | None = None,
) -> Call[dict[str, Any] | None]:
    """Read one profile ("Fetch a profile"). Returns ``None`` when there is none."""
    if kind not in get_args(ProfileIdKind):
        raise AdobeConfigurationError(
            f"fetch_profile: kind is {kind!r}: should be one of {', '.join(get_args(ProfileIdKind))}"
        )
    where = "" if kind == "tntId" else f"/{kind}"
    return _fetch(
        client_code,
        f"{where}/{{profile_id}}",
        profile_id,
        bearer,
        lambda response: None if response.status == 404 else _settings(response),
        (404,),
    )


_NOBODY = "adobe-provider-probe-of-the-profile-token"


def probe_profile_token(client_code: str, bearer: str | None) -> Call[bool]:
    """Return whether the edge accepts ``bearer``, by asking for a profile that cannot exist. Changes nothing,
    is not metered.

    It tells nothing when the tenant requires no token: the edge then accepts everything.
    """
    return _fetch(
        client_code,
        "/thirdPartyId/{profile_id}",
        _NOBODY,
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


# ------------------------------------------------------------------------------------------------------------
# XML


@dataclass(slots=True)
class XmlResponse:
    """What Target's XML answers hold: fields below ``response`` (names in lower case), and the profiles that
    failed.
    """

    fields: dict[str, str] = field(default_factory=dict)
    failed_ids: list[str] = field(default_factory=list)


def read_xml(body: bytes) -> XmlResponse:
    """Read an answer of the profile API. Memory does not grow with the number of profiles in it.

    :raises ValueError: when it is not such XML, nests too deep, or declares a document type (and with it,
        entities).
    """
    from xml.parsers import expat

    answer, names = XmlResponse(), list[str]()
    text: list[str] = []
    profile: dict[str, str] = {}

    def begin(name: str, _: object) -> None:
        names.append(name.lower())
        text.clear()
        if len(names) > 8 or (len(names) == 1 and names[0] != "response"):
            raise ValueError("it is not a response of the profile API")

    def characters(piece: str) -> None:
        if len(names) > 1 and sum(map(len, text)) < 10_000:
            text.append(piece)

    def end(_: str) -> None:
        value = " ".join(seen("".join(text)).split())
        text.clear()
        name = names.pop()
        if len(names) == 1 and name != "profile":
            answer.fields.setdefault(name, value)
        elif names and names[-1] == "profile":
            profile[name] = value
        elif name == "profile":
            if (
                profile.get("status", "").lower() not in ("success", "pending")
                and len(answer.failed_ids) < _EXAMPLES
            ):
                answer.failed_ids.append(profile.get("id", "?"))
            profile.clear()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which no answer of Adobe has")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not XML: {expat.errors.messages[error.code]}") from None
    return answer
