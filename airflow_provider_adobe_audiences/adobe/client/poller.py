# SPDX-License-Identifier: Apache-2.0
"""Everybody who waits in one event loop with the same connection asks through one :class:`Poller`: one HTTP
client, one token, one pool of connections; and one request for many where Adobe has a call for that.

A poller decides when and together with whom somebody asks. What a status means is decided by those who wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import heapq
import itertools
import logging
import random
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
from airflow_provider_adobe_audiences.adobe.client.call import Listing
from airflow_provider_adobe_audiences.adobe.client.policy import TRANSIENT_STATUSES
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.tls import bundle_changed_at
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeError,
)

T = TypeVar("T")
log = logging.getLogger(__name__)

# As many as the limiter lets through: who waits for a place here costs nothing, who waits for the limiter
# looks again and again.
MAX_UNDER_WAY = 32
# Who has waited for this share of its interval joins a request that is sent anyway.
_JOIN_AFTER = 0.5
# The first pause is of any length, so that those who begin together part; the later ones keep them apart.
_FIRST_PACE = (0.2, 0.95)
_PACE = (0.85, 0.95)
_MAX_REFUSALS = 3
_ALONE_SECONDS = 600.0


class Subscription:
    """The place of one who waits, at a poller.

    :param poller: whom to ask through.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        #: What the next pause is multiplied with: less than 1, so that nobody polls in step with others.
        self.pace = 1.0
        #: Whether it has asked before.
        self.has_asked = False

    @property
    def settings(self) -> AdobeSettings:
        """Hosts, credential and limits."""
        return self._poller.session.settings

    async def status(
        self,
        key: str,
        ask: Callable[[AsyncAdobeSession, str], Awaitable[T]],
        *,
        within: float,
        listing: Listing[T] | None = None,
    ) -> T:
        """Return the status of a job, together with others or alone.

        :param key: the job.
        :param ask: asks for this job alone.
        :param within: seconds until it has to be asked for; with others it may be earlier.
        :param listing: how to ask for it together with others, if there is a way.
        :raises AdobeError: how asking failed; nobody else fails with it but those of the same request.
        """
        if listing is not None and listing.takes(key):
            found = await self._poller.queue(listing).status(self, key, within)
            if found is not None:
                return found
        else:
            await asyncio.sleep(within)
            self.asked(_pace(first=not self.has_asked))
        async with self._poller.places:
            return await ask(self._poller.session, key)

    def asked(self, pace: float) -> None:
        """Note that this one asks now.

        :param pace: of its next pause.
        """
        self.pace, self.has_asked = pace, True


class Poller:
    """Asks for all who wait with the same settings in one event loop.

    :param session: sends the calls; is closed with the poller.
    """

    def __init__(self, session: AsyncAdobeSession) -> None:
        self.session = session
        self.places = asyncio.Semaphore(MAX_UNDER_WAY)
        self.subscribers = 0
        self._queues: dict[Listing[Any], _Queue[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def queue(self, listing: Listing[T]) -> _Queue[T]:
        """Return those who wait for their turn in a request for many.

        :param listing: how to ask.
        """
        if listing not in self._queues:
            self._queues[listing] = _Queue(self, listing)
        return self._queues[listing]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something for several subscribers, until the poller is closed.

        :param work: what to run, in a context of its own: what it logs belongs to none of them.
        """
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way, and close all connections."""
        for queue in self._queues.values():
            queue.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.session.close()


@dataclass(slots=True, eq=False)
class _Wish(Generic[T]):
    """Somebody's wish to know a status."""

    key: str
    subscription: Subscription
    due: float
    joins_at: float
    #: The status, the error, or ``None``: ask alone.
    found: asyncio.Future[T | BaseException | None] = field(repr=False)


class _Queue(Generic[T]):
    """Those who wait for their turn in a request for many."""

    def __init__(self, poller: Poller, listing: Listing[T]) -> None:
        self._poller = poller
        self._listing = listing
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._wishes: list[tuple[float, int, _Wish[T]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._refusals = 0
        self._alone_until = 0.0

    async def status(self, subscription: Subscription, key: str, within: float) -> T | None:
        """Return the status of a job; ``None`` when it is this one's turn to ask for it alone."""
        now = self._loop.time()
        wish = _Wish[T](
            key, subscription, now + within, now + within * _JOIN_AFTER, self._loop.create_future()
        )
        heapq.heappush(self._wishes, (wish.due, next(self._numbers), wish))
        if self._wishes[0][2] is wish:
            self._set_timer()
        found = await wish.found
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        self.close()
        if self._wishes:
            due = self._wishes[0][0]
            self._timer = self._loop.call_at(due, self._send_due, context=contextvars.Context())

    def _send_due(self) -> None:
        now = self._loop.time()
        while self._wishes and self._wishes[0][0] <= now:
            wishes = self._take(now)
            pace = _pace(first=not any(wish.subscription.has_asked for wish in wishes))
            for wish in wishes:
                wish.subscription.asked(pace)
            if len(wishes) > 1 and now >= self._alone_until:
                self._poller.start(self._ask(wishes))
            else:
                _tell(wishes, {})
        self._set_timer()

    def _take(self, now: float) -> list[_Wish[T]]:
        """Return those whose turn it is, and those who may join them, as many as fit into one request."""
        taken: list[_Wish[T]] = []
        keys: set[str] = set()
        room = self._listing.max_characters
        while self._wishes:
            wish = self._wishes[0][2]
            if not wish.found.done():  # otherwise it has left
                if wish.joins_at > now:
                    break
                if wish.key not in keys:
                    room -= len(wish.key) + 3
                    if room < 0 or len(keys) == self._listing.max_keys:
                        break
                    keys.add(wish.key)
                taken.append(wish)
            heapq.heappop(self._wishes)
        return taken

    async def _ask(self, wishes: Sequence[_Wish[T]]) -> None:
        try:
            async with self._poller.places:
                keys = {wish.key: None for wish in wishes if not wish.found.done()}
                found = await self._poller.session.send(self._listing.call(list(keys))) if keys else {}
        except AdobeError as error:
            if not _may_be_of_the_list_alone(error):
                _fail(wishes, error)
                return
            reason, found = error.summary, {}
        except Exception as error:  # noqa: BLE001  it is raised where the status is waited for
            _fail(wishes, error)
            return
        else:
            reason = f"it listed {len(found)} of {len(keys)}"
        self._refusals = 0 if 2 * len(found) >= len(keys) else self._refusals + 1
        if self._refusals >= _MAX_REFUSALS:
            self._refusals, self._alone_until = 0, self._loop.time() + _ALONE_SECONDS
            log.warning(
                "Adobe does not list what is waited for (%s); each job is asked for alone for %d minutes.",
                reason,
                _ALONE_SECONDS // 60,
            )
        _tell(wishes, found)


def _tell(wishes: Sequence[_Wish[T]], found: Mapping[str, T]) -> None:
    for wish in wishes:
        if not wish.found.done():
            wish.found.set_result(found.get(wish.key))


def _fail(wishes: Sequence[_Wish[Any]], error: Exception) -> None:
    for wish in wishes:
        if not wish.found.done():
            wish.found.set_result(copy.copy(error) if isinstance(error, AdobeError) else error)


def _may_be_of_the_list_alone(error: AdobeError) -> bool:
    """Return whether asking for each job alone may tell more: not when Adobe is out of order, or the
    credential refused.
    """
    if isinstance(error, AdobeAuthenticationError | AdobeConfigurationError):
        return False
    return not error.transient or error.status not in {None, 429, *TRANSIENT_STATUSES}


def _pace(*, first: bool) -> float:
    return random.uniform(*(_FIRST_PACE if first else _PACE))  # noqa: S311  not for cryptography


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Poller]] = (
    weakref.WeakKeyDictionary()
)
_pollers_lock = threading.Lock()
_closing: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def subscribed(
    settings: AdobeSettings, *, on_token: Callable[[list[str]], None] | None = None
) -> AsyncIterator[Subscription]:
    """Give a place at the poller of these settings in the running event loop; the last to leave closes it.

    :param settings: hosts, credential, sandbox and limits; others than before have another poller.
    :param on_token: is told all forms of each token before it is used, to mask them in logs.
    :returns: an async context manager.
    """
    loop = asyncio.get_running_loop()
    key = (settings, bundle_changed_at(settings))
    with _pollers_lock:
        for ended in [known for known in _pollers if known.is_closed()]:
            del _pollers[ended]
        pollers = _pollers.setdefault(loop, {})
    poller = pollers.get(key)
    if poller is None:
        poller = pollers[key] = Poller(AsyncAdobeSession(settings, on_token=on_token))
    poller.subscribers += 1
    try:
        yield Subscription(poller)
    finally:
        poller.subscribers -= 1
        if poller.subscribers == 0:
            del pollers[key]
            # Who is cancelled once more while it waits does not leave connections open.
            closing = loop.create_task(poller.close(), context=contextvars.Context())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
            await asyncio.shield(closing)
