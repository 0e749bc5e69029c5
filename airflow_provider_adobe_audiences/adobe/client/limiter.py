# SPDX-License-Identifier: Apache-2.0
"""One gate per process and service: a 429 pauses every thread, and the number of requests under way shrinks
and recovers.
"""

from __future__ import annotations

import threading
import time
from collections import deque

#: Requests of one process to one service that may be under way; the pool of connections has as many places.
MAX_AT_ONCE = 32
_SUCCESSES_TO_GROW = 8
_LOOK_AGAIN = 0.02
MAX_LOOK_AGAIN = 0.25
_DEFAULT_PAUSE = 1.0


class Limiter:
    """Decides how long a request must wait. Waiting itself is left to the caller, so threads and coroutines
    share it.

    :param requests_per_minute: most requests that begin within 60 seconds; ``None`` for no limit.
    """

    def __init__(self, requests_per_minute: int | None = None) -> None:
        self._requests_per_minute = requests_per_minute
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._under_way = 0
        #: How many requests may be under way now.
        self.at_once = MAX_AT_ONCE
        self._successes = 0
        self._begun: deque[float] = deque()

    def try_enter(self, refusals: int = 0) -> float:
        """Ask whether a request may begin.

        :param refusals: how often it asked before: the longer it has waited, the later it asks again, so that
            thousands who wait cost little.
        :returns: 0 when the request may begin (:meth:`leave` must follow), otherwise the seconds to wait
            before asking again.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._resume_at:
                return self._resume_at - now
            if self._under_way >= self.at_once:
                return min(MAX_LOOK_AGAIN, _LOOK_AGAIN * 1.25 ** min(refusals, 20))
            if self._requests_per_minute is not None:
                while self._begun and now - self._begun[0] >= 60:
                    self._begun.popleft()
                if len(self._begun) >= self._requests_per_minute:
                    return 60 - (now - self._begun[0])
                self._begun.append(now)
            self._under_way += 1
            return 0.0

    def leave(self, *, throttled: bool, pause: float | None = None) -> None:
        """Note the end of a request.

        :param throttled: whether it was answered with 429.
        :param pause: seconds that everybody should wait then.
        """
        with self._lock:
            self._under_way -= 1
            if throttled:
                now = time.monotonic()
                if now >= self._resume_at:  # the others that were under way say nothing new
                    self.at_once = max(1, self.at_once // 2)
                self._successes = 0
                self._resume_at = max(self._resume_at, now + (_DEFAULT_PAUSE if pause is None else pause))
                return
            self._successes += 1
            if self._successes >= _SUCCESSES_TO_GROW and self.at_once < MAX_AT_ONCE:
                self.at_once += 1
                self._successes = 0


_limiters: dict[tuple[str, str, str, int | None], Limiter] = {}
_limiters_lock = threading.Lock()


def limiter_for(kind: str, base_url: str, client_id: str, requests_per_minute: int | None) -> Limiter:
    """Return this process's limiter of a credential at a service.

    :param kind: keeps apart what must not wait for each other although it goes to the same host.
    :param base_url: where the service is.
    :param client_id: the credential.
    :param requests_per_minute: most requests that begin within 60 seconds; ``None`` for no limit.
    """
    key = (kind, base_url, client_id, requests_per_minute)
    with _limiters_lock:
        if key not in _limiters:
            _limiters[key] = Limiter(requests_per_minute)
        return _limiters[key]
