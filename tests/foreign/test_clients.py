# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote for Adobe run against the emulator."""

from __future__ import annotations

import os

import pytest

from tests.foreign.runs import DOCS, EXPECTED, FAULT, REFUSED, WORKS, MissingError, Result, page, run_clients

pytestmark = [pytest.mark.foreign, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    try:
        return run_clients()
    except MissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def test_nothing_fails_that_should_work(results: list[Result]) -> None:
    assert [one for one in results if one.outcome not in (WORKS, REFUSED, FAULT)] == []


def test_what_does_not_work_is_known(results: list[Result]) -> None:
    failing = {(one.client, one.call) for one in results if one.outcome != WORKS}
    assert failing == set(EXPECTED)


def test_most_of_it_works(results: list[Result]) -> None:
    works = dict.fromkeys(("aepp", "umapi-client", "@adobe/aio-lib-ims"), 0)
    for one in results:
        works[one.client] += one.outcome == WORKS
    assert works["aepp"] >= 72
    assert works["umapi-client"] == 3
    assert works["@adobe/aio-lib-ims"] == 2


def test_the_page_shows_what_was_found(results: list[Result]) -> None:
    text = DOCS.read_text()
    assert page(text, results) == text, "run python -m tests.foreign.runs"
