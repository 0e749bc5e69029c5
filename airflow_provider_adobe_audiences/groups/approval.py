# SPDX-License-Identifier: Apache-2.0
"""A plan on its way from the task that made it, past who approves it, to the task that applies it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from airflow_provider_adobe_audiences.errors import PlanRefusedError
from airflow_provider_adobe_audiences.groups.changes import Model, Plan


class Origin(Model):
    """Where a plan comes from. It may be applied nowhere else.

    :param dag_id: Dag of the planning task.
    :param run_id: run of the planning task.
    :param conn_id: Airflow connection.
    :param user: authentication, user name and client id, of which the calling user follows.
    """

    dag_id: str
    run_id: str
    conn_id: str
    user: Mapping[str, str | None]


class Signed(Model):
    """A plan with what the signature covers besides it.

    :param plan: the plan.
    :param origin: where it comes from.
    :param task_id: planning task, for the message.
    :param made_at: when it was made, in ISO 8601 with offset.
    :param scope: what else belonged to the desired state, for the record.
    :param markdown: SHA-256 of the text that the approving person sees.
    """

    plan: Plan
    origin: Origin
    task_id: str
    made_at: datetime
    scope: Mapping[str, Any]
    markdown: str


def sign(signed: Signed, key: str) -> dict[str, Any]:
    """Return a plan as JSON that :func:`verify` recognises.

    :param signed: the plan, and where it comes from.
    :param key: what only the two tasks know. It cannot be found from the result.
    """
    content = signed.model_dump(mode="json")
    return {"signature": _digest(content, key), "content": content}


def verify(given: Any, key: str) -> Signed:
    """Return what was signed.

    :param given: what :func:`sign` returned, after its way through XCom.
    :param key: as for :func:`sign`.
    :raises PlanRefusedError: when it is not exactly that.
    """
    if not isinstance(given, Mapping) or not {"signature", "content"} <= given.keys():
        raise PlanRefusedError(
            f"this is not a plan: {type(given).__name__}",
            hint="Pass the output of AdobePlanGroupsOperator, as in plan=plan.output.",
        )
    if not hmac.compare_digest(str(given["signature"]).encode(), _digest(given["content"], key).encode()):
        raise PlanRefusedError(
            "the plan is not the one that was made: it was altered, or made with another credential"
        )
    try:
        return Signed.model_validate(given["content"])
    except ValidationError as error:
        raise PlanRefusedError(
            f"the plan was made by another version of this package ({error.error_count()} differences)"
        ) from None


def check_origin(
    signed: Signed, *, origin: Origin, target: str, markdown: str, now: datetime, max_age: timedelta
) -> None:
    """Refuse a plan that comes from elsewhere, is old, or is not what was shown.

    :param signed: what :func:`verify` returned.
    :param origin: where it is to be applied.
    :param target: base URL of the service there.
    :param markdown: the text that was shown.
    :param now: the present time.
    :param max_age: how old a plan may be.
    :raises PlanRefusedError: naming the first difference.
    """
    if signed.plan.target != target:
        raise PlanRefusedError(
            f"the plan was made for {signed.plan.target}, but the connection leads to {target}"
        )
    for what, made, here in (
        ("Dag", signed.origin.dag_id, origin.dag_id),
        ("run", signed.origin.run_id, origin.run_id),
        ("connection", signed.origin.conn_id, origin.conn_id),
        ("user", signed.origin.user, origin.user),
    ):
        if made != here:
            raise PlanRefusedError(
                f"the plan was made in another {what}: {made!r} by task {signed.task_id!r}, not {here!r}"
            )
    age = now - signed.made_at
    if age > max_age:
        raise PlanRefusedError(f"the plan is {age} old, older than max_age={max_age}")
    if digest_of(markdown) != signed.markdown:
        raise PlanRefusedError("what was shown for approval is not what the plan says: the text was altered")


def digest_of(markdown: str) -> str:
    """Return what :attr:`Signed.markdown` holds for a text.

    :param markdown: what a person was shown.
    """
    return hashlib.sha256(markdown.encode("utf-8", "surrogatepass")).hexdigest()


def _digest(content: Any, key: str) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
