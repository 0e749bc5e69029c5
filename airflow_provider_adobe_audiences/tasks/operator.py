# SPDX-License-Identifier: Apache-2.0
"""What all operators share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_adobe_audiences.errors import AdobeError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID


class AdobeOperator(BaseOperator):
    """Base of the operators.

    :param adobe_conn_id: connection of type ``adobe`` (templated).
    """

    template_fields: Sequence[str] = ("adobe_conn_id",)
    ui_color = "#fde8e7"

    def __init__(self, *, adobe_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adobe_conn_id = adobe_conn_id


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let an error that a retry cannot mend fail the task at once, and every other one be retried as the task
    says.
    """
    try:
        yield
    except AdobeError as error:
        if error.transient:
            raise
        raise AirflowFailException(str(error)) from error
    except ValueError as error:
        raise AirflowFailException(
            f"{error} What to do: correct the operator's arguments; nothing was sent with this value."
        ) from error
