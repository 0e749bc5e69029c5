# SPDX-License-Identifier: Apache-2.0
"""Keeps the clients of secret stores from logging what goes over the wire, which at DEBUG some do with every
value in clear.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_lock = threading.Lock()
#: How many are under way, and the level to go back to, by name of the logger.
_held: dict[str, tuple[int, int]] = {}


@contextmanager
def quiet(names: Sequence[str]) -> Iterator[None]:
    """Let these loggers, and all below them, say nothing below INFO meanwhile, in the whole process.

    A value that is only just being read cannot be masked yet, so it must not be logged.

    :param names: of loggers, such as ``botocore``.
    :returns: a context manager.
    """
    with _lock:
        held = _loggers(names)
        for name in held:
            count, level = _held.get(name, (0, logging.getLogger(name).level))
            _held[name] = (count + 1, level)
            logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger(name).getEffectiveLevel()))
    try:
        yield
    finally:
        with _lock:
            for name in held:
                count, level = _held.pop(name)
                if count > 1:
                    _held[name] = (count - 1, level)
                else:
                    logging.getLogger(name).setLevel(level)


def _loggers(names: Sequence[str]) -> list[str]:
    """Return ``names``, and those below them that have a level of their own."""
    below = [
        name
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger)
        and (logger.level or name in _held)
        and name.startswith(tuple(f"{parent}." for parent in names))
    ]
    return [*names, *below]
