# SPDX-License-Identifier: Apache-2.0
"""Fault rules: what shall go wrong, where and how often; and the requests that are held."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import regex
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: ``process`` goes on even when the client went away meanwhile: a request that arrives late.
Then = Literal["continue", "drop", "process"]
#: Seconds. An expression like ``(a|aa)+$`` takes years for some paths, and everybody else waits for it.
MAX_MATCHING = 0.05


class FaultRule(BaseModel):
    """One rule. It is applied to the requests that it matches, in the order of the rules; the first that
    applies wins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = Field(None, description="HTTP method; none: any")
    path: str = Field(
        "", max_length=500, description="regular expression, searched in the path with its query string"
    )
    nth: int | list[int] | None = Field(
        None, description="only these matching requests, counted from 1 since the rule was added"
    )
    times: int | None = Field(None, ge=0, description="at most so often")
    probability: float = Field(
        1.0, ge=0, le=1, description="apply to this share of the matching requests (fixed seed)"
    )
    phase: Literal["before", "after", "body"] = Field(
        "before",
        description=(
            "before: nothing was processed; after: it was, and committed; body: while the request body was "
            "being read"
        ),
    )
    status: int | None = Field(None, ge=100, le=999, description="respond with this status")
    headers: dict[str, str] = Field(default_factory=dict, description="respond with these headers")
    body: Any = Field(None, description="respond with this body: text as it is, anything else as JSON")
    delay: float = Field(0, ge=0, description="wait so many seconds first")
    drop: bool | Literal["reset", "close"] = Field(
        False, description="no response: reset the connection (true), or close it"
    )
    truncate: int | None = Field(
        None, ge=0, description="close the connection after so many bytes of the response's body"
    )
    drip: float | None = Field(
        None, ge=0, description="send the response's body byte by byte, so many seconds apart"
    )
    endless: bool = Field(False, description="a response whose body never ends")
    bomb: int | None = Field(None, gt=0, description="a response whose gzip body unpacks to so many bytes")
    expire_token: bool = Field(False, description="the access token of the request expires at this moment")
    hold: bool = Field(False, description="park the request until it is released")

    @field_validator("path")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            regex.compile(value)
        except regex.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _does_something(self) -> FaultRule:
        if self.responds or self.reshapes or self.delay or self.drop or self.expire_token or self.hold:
            return self
        raise ValueError(
            "the rule does nothing: give status, body, delay, drop, truncate, drip, endless, bomb, "
            "expire_token or hold"
        )

    @property
    def responds(self) -> bool:
        """Does the rule bring its own response?"""
        return (
            self.status is not None
            or self.body is not None
            or bool(self.headers)
            or self.endless
            or self.bomb is not None
        )

    @property
    def reshapes(self) -> bool:
        """Does the rule send the service's response in an odd way?"""
        return self.truncate is not None or self.drip is not None

    def matches(self, method: str, target: str) -> bool:
        """Return whether the rule is about this request.

        :raises TimeoutError: when the expression takes longer than ``MAX_MATCHING`` to say so.
        """
        return (self.method is None or self.method.upper() == method) and regex.search(
            self.path, target, timeout=MAX_MATCHING
        ) is not None


@dataclass
class _Counted:
    id: int
    rule: FaultRule
    random: random.Random
    matched: int = 0
    applied: int = 0
    timed_out: int = 0

    def matches(self, method: str, target: str) -> bool:
        try:
            return self.rule.matches(method, target)
        except TimeoutError:
            self.timed_out += 1
            return False

    def applies(self) -> bool:
        rule = self.rule
        self.matched += 1
        nth = [rule.nth] if isinstance(rule.nth, int) else rule.nth
        if (nth is not None and self.matched not in nth) or (
            rule.times is not None and self.applied >= rule.times
        ):
            return False
        return rule.probability == 1 or self.random.random() < rule.probability

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "matched": self.matched,
            "applied": self.applied,
            **({"timed_out": self.timed_out} if self.timed_out else {}),
            **self.rule.model_dump(exclude_defaults=True),
        }


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._rules: list[_Counted] = []

    def add(self, rule: FaultRule | None = None, **fields: Any) -> int:
        """Add a rule, given as such or by its fields, and return its id."""
        rule = rule or FaultRule(**fields)
        number = next(self._numbers)
        self._rules.append(_Counted(number, rule, random.Random(number)))  # noqa: S311  not for cryptography
        return number

    def remove(self, number: int) -> bool:
        """Remove the rule with this id; return whether there was one."""
        before = len(self._rules)
        self._rules = [counted for counted in self._rules if counted.id != number]
        return len(self._rules) < before

    def clear(self) -> None:
        """Remove all rules."""
        self._rules = []

    def as_list(self) -> list[dict[str, Any]]:
        """Return every rule with how often it matched and was applied."""
        return [counted.as_dict() for counted in self._rules]

    def applied(self, number: int) -> int:
        """Return how often the rule with this id was applied."""
        return next(counted.applied for counted in self._rules if counted.id == number)

    def match(self, method: str, target: str) -> tuple[int, FaultRule] | None:
        """Count the request in every rule that matches it; return the first rule to apply."""
        chosen: _Counted | None = None
        for counted in self._rules:
            if counted.matches(method, target) and counted.applies() and chosen is None:
                chosen = counted
        if chosen is None:
            return None
        chosen.applied += 1
        return chosen.id, chosen.rule


@dataclass
class Hold:
    """A parked request."""

    id: int
    method: str
    target: str
    phase: str
    sequence: int
    loop: asyncio.AbstractEventLoop = field(repr=False)
    released: asyncio.Future[Then] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return what the control API shows of it."""
        return {
            "id": self.id,
            "method": self.method,
            "target": self.target,
            "phase": self.phase,
            "sequence": self.sequence,
        }


class Holds:
    """The parked requests. Safe to use from any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._holds: dict[int, Hold] = {}
        self._changed = threading.Condition()

    def as_list(self) -> list[dict[str, Any]]:
        """Return the parked requests."""
        with self._changed:
            return [hold.as_dict() for hold in self._holds.values()]

    def wait(self, count: int = 1, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until so many requests are parked; return them, or raise :class:`TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._holds) >= count, timeout):
                raise TimeoutError(f"{len(self._holds)} requests are held after {timeout} s, not {count}")
            return [hold.as_dict() for hold in self._holds.values()]

    def release(self, then: Then = "continue", number: int | None = None) -> int:
        """Let parked requests (or the one with this id) go on, or drop their connections; return how many."""
        with self._changed:
            chosen = [hold for hold in self._holds.values() if number in (None, hold.id)]
        for hold in chosen:
            hold.loop.call_soon_threadsafe(_resolve, hold.released, then)
        return len(chosen)

    async def park(self, method: str, target: str, phase: str, sequence: int) -> Then:
        """Park the running request until it is released."""
        loop = asyncio.get_running_loop()
        hold = Hold(next(self._numbers), method, target, phase, sequence, loop, loop.create_future())
        with self._changed:
            self._holds[hold.id] = hold
            self._changed.notify_all()
        try:
            return await hold.released
        finally:
            with self._changed:
                self._holds.pop(hold.id, None)
                self._changed.notify_all()


def _resolve(future: asyncio.Future[Then], then: Then) -> None:
    if not future.done():
        future.set_result(then)
