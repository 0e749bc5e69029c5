# SPDX-License-Identifier: Apache-2.0
"""What all operators share."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, Context
from pydantic import ValidationError

from airflow_provider_adobe_audiences.errors import AdobeError, AdobeSourceError, without_frames
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.tasks.validation import CheckedArguments, Template, Text
from airflow_provider_adobe_audiences.text import one_line

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments

_ROOT = Path(__file__).parent.parent
# What a fault of this package, not of the world, raises: trying again meets the same line.
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)


class AdobeOperator(CheckedArguments, BaseOperator):
    """Base of the operators.

    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id",)
    ui_color = "#fde8e7"

    def __init__(
        self, *, adobe_conn_id: Text | Template = DEFAULT_CONN_ID, **kwargs: Unpack[OperatorArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.adobe_conn_id: Any = adobe_conn_id


class _FailWithoutRetry(AbstractContextManager[None]):
    # Not a generator: contextlib would give an error that is not replaced its frames back. A cause without
    # frames is what Airflow 3 writes into no log: its text stands in the message.
    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        text = _permanent(error)
        refused = _refused(error) if isinstance(error, OSError) else None
        if error is not None:
            without_frames(error)
        if text is not None:
            raise AirflowFailException(text) from error
        if refused is not None:
            raise refused from error


def fail_without_retry() -> AbstractContextManager[None]:
    """Let an error that a retry cannot mend fail the task at once, and every other one be retried as the task
    says. Both leave without the frames that they came through, where customers' rows are at hand.

    :returns: a context manager. It raises AirflowFailException for an error that is not transient, a bad
        argument, or a fault of this package, and AdobeSourceError for what this machine or a storage refused.
    """
    return _FailWithoutRetry()


def is_permanent(error: BaseException) -> bool:
    """Return whether :func:`fail_without_retry` lets a task fail at once.

    :param error: what came out of the task.
    """
    return _permanent(error) is not None


def _permanent(error: BaseException | None) -> str | None:
    """Return what to say of an error that a retry cannot mend."""
    match error:
        case AdobeError():
            return None if error.transient else str(error)
        case ValueError() if _is_ours(error):
            return f"{error}\nWhat to do: Correct the operator's arguments; nothing was sent with this value."
        case ImportError():  # of a storage or a store that needs a package: it says which
            return f"{one_line(str(error))}\nWhat to do: Install that package where the task runs."
        case Exception() if isinstance(error, _FAULTS):
            return _fault(error)
        case _:
            return None


def _is_ours(error: ValueError) -> bool:
    """Whether this package, or pydantic for it, refused a value, and not Airflow or a storage."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValidationError) or not frames or _is_of_package(frames[-1])


def _is_of_package(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(_ROOT)


def _refused(error: OSError) -> AdobeSourceError:
    """Return what to say when this machine, or a storage, refused to read or write."""
    return AdobeSourceError(
        f"{type(error).__name__}{_place(error)}: {one_line(str(error))}",
        hint="Check that the disk of this machine (TMPDIR) has room, that the worker may read and write "
        "there, and that the storage can be reached; then run again.",
    )


def _fault(error: Exception) -> str:
    """Return where a fault of ours lies. Not its text, which may hold a customer's value."""
    return (
        f"{type(error).__name__}{_place(error)}\n"
        "What to do: Check the types of the operator's arguments. If they are as documented, report this "
        "line to the package's maintainers; a retry would end the same way."
    )


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    place = next((frame for frame in reversed(frames) if _is_of_package(frame)), frames[-1])
    return f" in {Path(place.filename).name}, line {place.lineno} ({place.name})"


def push_ids(context: Context, **ids: Any) -> None:
    """Push ids as XCom keys of their own, as soon as they are known: also a task that fails leaves them.

    :param context: the task's context.
    :param ids: by key, such as ``batch_id``; ``None`` is left out.
    """
    for key, value in ids.items():
        if value is not None:
            context["ti"].xcom_push(key=key, value=value)


def with_ids(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """Push the ids of a result as XCom keys of their own, so that ``task.output["group_id"]`` is one.

    :param context: the task's context.
    :param result: what the task returns.
    :returns: the same.
    """
    push_ids(context, **{key: value for key, value in result.items() if key == "id" or key.endswith("_id")})
    return result
