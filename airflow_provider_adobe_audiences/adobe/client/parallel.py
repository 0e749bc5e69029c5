# SPDX-License-Identifier: Apache-2.0
"""Several calls at the same time, which nobody waits for once the task has to stop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Calls under way at the same time, where nobody says how many: measured at 20 ms per call, see
#: docs/performance.md. With more, Python has more to do than the network, and Adobe's limits come nearer.
DEFAULT_CONCURRENCY = 24


def in_parallel(
    function: Callable[[T], R], items: Sequence[T], concurrency: int, stopped: threading.Event | None = None
) -> list[R]:
    """Return the result of ``function`` for each item, in their order.

    Unlike with a pool of :mod:`concurrent.futures`, an exception in the waiting thread, such as Airflow's at
    ``execution_timeout``, ends the wait at once: the threads are daemons, begin nothing new, and nobody joins
    them.

    :param function: called from several threads.
    :param items: its arguments; they are begun in their order.
    :param concurrency: number of threads, at most.
    :param stopped: is set when no result is wanted any more, so that ``function`` can stop in the middle.
    :returns: the results.
    :raises BaseException: the first that ``function`` raised.
    """
    todo: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, R | None, BaseException | None]] = queue.SimpleQueue()
    stopped = stopped or threading.Event()
    for pair in enumerate(items):
        todo.put(pair)

    def work() -> None:
        while not stopped.is_set():
            try:
                number, item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, function(item), None))
            except BaseException as error:  # noqa: BLE001  raised in the waiting thread
                done.put((number, None, error))
                stopped.set()  # after it: what stops because of that must not be the first error

    for number in range(min(concurrency, len(items))):
        threading.Thread(target=work, name=f"adobe-{number}", daemon=True).start()
    results: dict[int, R] = {}
    try:
        while len(results) < len(items):
            number, result, error = done.get()
            if error is not None:
                raise error
            results[number] = result  # type: ignore[assignment]
    except BaseException:
        stopped.set()
        raise
    return [results[number] for number in range(len(items))]
