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
    todo = enumerate(items)
    taking = threading.Lock()
    results: dict[int, R] = {}
    # One entry for each thread, not for each item: who is woken takes the interpreter from those who work.
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    stopped = stopped or threading.Event()

    def work() -> None:
        try:
            while not stopped.is_set():
                with taking:
                    number, item = next(todo, (-1, None))
                if number < 0:
                    break
                results[number] = function(item)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001  raised in the waiting thread
            ended.put(error)
            stopped.set()  # after it: what stops because of that must not be the first error
        else:
            ended.put(None)

    threads = min(concurrency, len(items))
    for number in range(threads):
        threading.Thread(target=work, name=f"adobe-{number}", daemon=True).start()
    try:
        for _ in range(threads):
            if (error := ended.get()) is not None:
                raise error
    except BaseException:
        stopped.set()
        raise
    return [results[number] for number in range(len(items))]
