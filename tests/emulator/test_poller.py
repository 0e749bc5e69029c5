# SPDX-License-Identifier: Apache-2.0
"""Thousands wait in one event loop: through one client, with few requests, and nobody is hurt by others."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client import flow, limiter, poller
from airflow_provider_adobe_audiences.batches.wait import BatchWaiter
from airflow_provider_adobe_audiences.emulator.experience_platform.models.records import InputFormat
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeNotFoundError,
    AdobeServerError,
    from_json,
)
from airflow_provider_adobe_audiences.hooks import adobe
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook
from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger
from airflow_provider_adobe_audiences.triggers.target import AdobeBulkProfileUpdateTrigger

CALLER = Caller("emulator-client", "0123456789ABCDEF01234567@AdobeOrg", "prod")
LIST = r"/catalog/batches\?"
ALONE = r"/catalog/batches/"


@pytest.fixture(autouse=True)
def _connection(adobe_connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """IMS and all services share one host; growing random waits are tenacity's."""
    monkeypatch.setattr(flow, "_backoff", lambda state: 0.0)
    monkeypatch.setattr(limiter, "_limiters", {})


def new_batches(emulator: Any, count: int) -> list[str]:
    """Return the ids of so many batches that are loading."""
    batches = emulator.platform.batches
    return [batches.create(CALLER, {"datasetId": "ds"}, InputFormat("json")).id for _ in range(count)]


def end(emulator: Any, ids: Iterable[str]) -> None:
    for number in ids:
        emulator.platform.batches.set_state(emulator.platform.batches.batches[number], "aborted")


def trigger(batch_id: str, **more: Any) -> AdobeBatchTrigger:
    return AdobeBatchTrigger(
        **{"batch_id": batch_id, "deadline": time.time() + 120, "poll_interval": 0.5, **more}
    )


async def event_of(one: Any) -> dict[str, Any]:
    """Return what a trigger fires."""
    (event,) = [event async for event in one.run()]
    return dict(event.payload)


def waiting(triggers: Iterable[Any]) -> list[asyncio.Task[dict[str, Any]]]:
    return [asyncio.create_task(event_of(one)) for one in triggers]


async def until(holds: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


def polls(emulator: Any, ids: Iterable[str]) -> list[int]:
    """Return how often the status of each batch was told."""
    return [emulator.platform.batches.batches[number].polls for number in ids]


def requests_of(emulator: Any, path: str = "/catalog/batches") -> list[Any]:
    return list(emulator.journal.find("GET", path))


def lists(emulator: Any) -> list[Any]:
    return [entry for entry in requests_of(emulator) if entry.path.endswith("/batches")]


def pollers() -> list[poller.Poller]:
    return list(poller._pollers.get(asyncio.get_running_loop(), {}).values())


async def all_is_closed(emulator: Any) -> None:
    """Return when neither a poller nor a connection is left."""
    assert pollers() == []
    await until(lambda: not emulator._server._state.connections, 10)


async def test_thousands_that_start_together_on_one_host_are_all_polled(emulator: Any) -> None:
    """This was a deadlock: all places were held by those who waited for what was behind those places."""
    count, interval = 2000, 5.0
    ids = new_batches(emulator, count)
    tasks = waiting(trigger(number, poll_interval=interval) for number in ids)
    noticed: list[float] = []
    for task in tasks:
        task.add_done_callback(lambda _: noticed.append(time.monotonic()))

    await until(lambda: all(polls(emulator, ids)))
    await until(lambda: min(polls(emulator, ids)) >= 3)
    before, ended = polls(emulator, ids), time.monotonic()
    end(emulator, ids)
    events = await asyncio.gather(*tasks)

    assert {event["status"] for event in events} == {"done"}
    assert [event["result"]["batch_id"] for event in events] == ids
    assert {event["result"]["status"] for event in events} == {"aborted"}
    # Each at the next poll; one more when a response was under way.
    assert max(now - then for now, then in zip(polls(emulator, ids), before, strict=True)) <= 2
    assert noticed[-1] - ended <= interval + 1
    assert len(requests_of(emulator)) * 20 <= sum(polls(emulator, ids))
    assert len(emulator.journal.find("POST", "/ims/token")) == 1
    await all_is_closed(emulator)


async def test_an_event_is_the_same_whether_one_waits_or_many(
    emulator: Any, create_batch: Any, upload: Any, act: Any
) -> None:
    emulator.switches["batch_seconds"] = 0.0
    contents: list[tuple[str, dict[str, Any]]] = [
        ('{"a": 1}\n{"a": 2}\n', {}),
        ('{"a": 1}\nno JSON\n', {"partialIngestionPercent": 60, "enableErrorDiagnostics": True}),
        ("no JSON\n", {"tags": {"mine": ["x"]}}),
    ]
    ids = []
    for number, (content, body) in enumerate(contents):
        ids.append(create_batch(externalId=f"run-{number}", **body))
        upload(ids[-1], content)
        act(ids[-1], "COMPLETE")
    ids += new_batches(emulator, 2)
    end(emulator, ids[3:4])
    emulator.platform.batches.set_state(emulator.platform.batches.batches[ids[4]], "deleted")
    emulator.journal.clear()

    alone = [await event_of(trigger(number)) for number in ids]
    assert (len(lists(emulator)), len(requests_of(emulator))) == (0, len(ids))
    together = await asyncio.gather(*waiting(trigger(number) for number in ids))

    assert together == alone
    assert (len(lists(emulator)), len(requests_of(emulator))) == (1, len(ids) + 1)
    results = [event["result"] for event in together]
    assert [found["status"] for found in results] == ["success", "success", "failed", "aborted", "deleted"]
    assert [found["records_failed"] for found in results] == [0, 1, 1, None, None]
    assert [found["external_id"] for found in results[:3]] == ["run-0", "run-1", "run-2"]
    assert {found["dataset_id"] for found in results} == {"ds"}
    assert all(found["errors"] for found in results[1:3])


def test_a_list_says_what_a_look_at_each_batch_says(emulator: Any, create_batch: Any, act: Any) -> None:
    emulator.switches["batch_stalls"] = True
    ids = [create_batch(tags={"mine": ["x"]}) for _ in range(2)]
    act(ids[0], "COMPLETE")
    with AdobeHook().session() as session:
        listed = session.send(platform.get_batches(ids))
        assert list(listed) == ids
        for number in ids:
            alone = session.send(platform.get_batch(number))
            assert listed[number] == alone
    assert {listed[number].status for number in ids} == {"stalled", "loading"}
    (request,) = lists(emulator)
    assert f"limit={platform.MAX_LISTED_BATCHES}" in request.query
    waiter = BatchWaiter(ids[0])
    waiter.note(ids[0], listed[ids[0]], time.time())
    assert waiter.stalled_since is not None


async def test_one_bad_id_fails_its_own_trigger_only(emulator: Any) -> None:
    ids = new_batches(emulator, 3)
    expected = from_json((await event_of(trigger("01NOTHING")))["error"])
    good, bad = waiting(trigger(number) for number in ids), waiting([trigger("01NOTHING"), trigger("a,b")])

    errors = [from_json((await task)["error"]) for task in bad]
    assert str(errors[0]).replace(errors[0].request_id, "") == str(expected).replace(expected.request_id, "")
    assert [type(error) for error in errors] == [AdobeNotFoundError, AdobeNotFoundError]
    await until(lambda: min(polls(emulator, ids)) >= 3)
    assert not any(task.done() for task in good)
    end(emulator, ids)
    assert {event["status"] for event in await asyncio.gather(*good)} == {"done"}
    assert "%2C" not in "".join(entry.path for entry in lists(emulator))
    await all_is_closed(emulator)


async def test_a_batch_that_the_list_shows_in_an_unknown_shape_is_looked_at_alone(emulator: Any) -> None:
    ids = new_batches(emulator, 3)
    emulator.faults.add(
        path=LIST, body={ids[0]: {"no": "status"}, ids[1]: None, ids[2]: {"status": "success"}}
    )
    tasks = waiting(trigger(number) for number in ids)
    assert (await tasks[2])["result"]["status"] == "success"
    end(emulator, ids[:2])
    assert [(await task)["result"]["status"] for task in tasks[:2]] == ["aborted", "aborted"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 403, "body": {"title": "ForbiddenError"}},
        {"status": 400, "body": {"title": "BadRequestError"}},
        {"status": 404},
        {"status": 501},
        {"status": 200, "body": "no JSON"},
        {"status": 200, "body": "[]"},
        {"status": 200, "body": {}},
    ],
    ids=lambda refusal: "{status} {body}".format(**{"body": "", **refusal}),
)
async def test_where_the_list_is_refused_each_is_asked_for_alone(
    emulator: Any, caplog: pytest.LogCaptureFixture, refusal: dict[str, Any]
) -> None:
    caplog.set_level(logging.WARNING)
    ids = new_batches(emulator, 10)
    emulator.faults.add(path=LIST, **refusal)
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: min(polls(emulator, ids)) >= 5)
    end(emulator, ids)
    assert {event["status"] for event in await asyncio.gather(*tasks)} == {"done"}
    assert len(lists(emulator)) == 3
    (warning,) = [record for record in caplog.messages if "asked for alone" in record]
    assert "10 minutes" in warning


@pytest.mark.parametrize("meaning", ["one", "ignored"])
async def test_where_the_filter_means_something_else_each_is_asked_for_alone(
    emulator: Any, meaning: str
) -> None:
    emulator.switches["catalog_batch_filter"] = meaning
    ids = new_batches(emulator, 10)
    new_batches(emulator, 200)
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: min(polls(emulator, ids)) >= 5)
    end(emulator, ids)
    assert {event["status"] for event in await asyncio.gather(*tasks)} == {"done"}
    assert len(lists(emulator)) == 3


async def test_a_list_that_fails_hurts_only_those_whose_own_limit_is_reached(
    emulator: Any, adobe_connection: Any
) -> None:
    adobe_connection(max_attempts=1)
    ids = new_batches(emulator, 20)
    emulator.faults.add(path=LIST, status=503, times=2)
    impatient = waiting(trigger(number, poll_interval=2, max_consecutive_errors=2) for number in ids[:5])
    patient = waiting(trigger(number, poll_interval=2, max_consecutive_errors=3) for number in ids[5:])

    for event in await asyncio.gather(*impatient):
        error = from_json(event["error"])
        assert (type(error), error.status) == (AdobeServerError, 503)
    await until(lambda: min(polls(emulator, ids[5:])) >= 2)
    end(emulator, ids)
    assert {event["status"] for event in await asyncio.gather(*patient)} == {"done"}
    assert len(requests_of(emulator)) == len(lists(emulator))


async def test_a_token_that_is_refused_on_the_way_is_renewed_once(emulator: Any) -> None:
    ids = new_batches(emulator, 250)
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: min(polls(emulator, ids)) >= 1)
    emulator.ims.expire_tokens()
    await until(lambda: min(polls(emulator, ids)) >= 4)
    end(emulator, ids)
    assert {event["status"] for event in await asyncio.gather(*tasks)} == {"done"}
    assert len(emulator.journal.find("POST", "/ims/token")) == 2


async def test_a_credential_that_is_withdrawn_fails_all_and_asks_for_none_alone(emulator: Any) -> None:
    ids = new_batches(emulator, 250)
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: min(polls(emulator, ids)) >= 1)
    emulator.ims.credentials.clear()
    emulator.ims.expire_tokens()
    for event in await asyncio.gather(*tasks):
        assert isinstance(from_json(event["error"]), AdobeAuthenticationError)
    assert len(requests_of(emulator)) == len(lists(emulator))
    await all_is_closed(emulator)


@pytest.mark.parametrize("moment", ["between polls", "while a request is under way"])
async def test_who_is_cancelled_leaves_and_the_last_one_closes_everything(emulator: Any, moment: str) -> None:
    ids = new_batches(emulator, 5)
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: min(polls(emulator, ids)) >= 1)
    if moment != "between polls":
        emulator.faults.add(path=LIST, hold=True)
        await until(emulator.holds.as_list)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.wait(tasks[:2])
    assert all(task.cancelled() for task in tasks[:2])
    emulator.faults.clear()
    emulator.holds.release()

    seen = polls(emulator, ids)
    await until(
        lambda: min(now - then for now, then in zip(polls(emulator, ids[2:]), seen[2:], strict=True)) >= 2
    )
    assert max(now - then for now, then in zip(polls(emulator, ids[:2]), seen[:2], strict=True)) <= 1
    assert len(pollers()) == 1
    if moment != "between polls":
        emulator.faults.add(path=LIST, hold=True)
        await until(emulator.holds.as_list)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.wait(tasks)
    await all_is_closed(emulator)


async def test_each_kind_of_connection_has_a_poller_of_its_own(emulator: Any, adobe_connection: Any) -> None:
    ids = new_batches(emulator, 3)
    before = waiting([trigger(ids[0]), trigger(ids[1])])
    await until(lambda: all(polls(emulator, ids[:2])))
    assert len(pollers()) == 1

    adobe_connection(max_attempts=2)  # somebody edits it
    after = waiting([trigger(ids[2])])
    elsewhere = waiting([trigger("01NOTHING", sandbox="dev")])
    await until(lambda: all(polls(emulator, ids)))
    assert (await elsewhere[0])["status"] == "error"
    assert len(pollers()) == 2
    assert all(entry.headers["x-sandbox-name"] == "dev" for entry in requests_of(emulator, "/01NOTHING"))

    end(emulator, ids[:2])
    await asyncio.gather(*before)
    assert [found.session.settings.max_attempts for found in pollers()] == [2]
    end(emulator, ids)
    await asyncio.gather(*after)
    await all_is_closed(emulator)


def test_event_loops_share_nothing(emulator: Any) -> None:
    ids = new_batches(emulator, 2)
    found = []

    async def one_loop(number: str) -> None:
        tasks = waiting([trigger(number)])
        await until(lambda: all(polls(emulator, [number])))
        found.extend(pollers())
        end(emulator, [number])
        await asyncio.gather(*tasks)

    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, one_loop(number)) for number in ids))

    asyncio.run(both())
    assert len({id(one) for one in found}) == 2
    assert len({id(one.session) for one in found}) == 2
    assert not any(one.subscribers for one in found)


async def test_what_a_request_for_many_logs_belongs_to_none_of_them(
    emulator: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow finds by a context variable in whose log a line goes; and whoever began may have ended."""
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
    seen = []

    class Look(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if "503" in record.getMessage():
                seen.append(whose.get())
            return True

    logger, look = logging.getLogger(flow.__name__), Look()
    logger.addFilter(look)
    emulator.faults.add(path=LIST, status=503, times=1)
    ids = new_batches(emulator, 2)
    whose.set("the first one's")
    tasks = waiting(trigger(number) for number in ids)
    await until(lambda: all(polls(emulator, ids)))
    end(emulator, ids)
    await asyncio.gather(*tasks)
    logger.removeFilter(look)
    assert seen == ["nobody's"]


async def test_logs_tell_changes_not_polls(emulator: Any, caplog: pytest.LogCaptureFixture) -> None:
    ids = new_batches(emulator, 3)
    triggers = [trigger(number, poll_interval=0.05) for number in ids]
    for one in triggers:
        one._log = logging.getLogger("of.a.trigger")
    with caplog.at_level(logging.INFO):
        tasks = waiting(triggers)
        await until(lambda: min(polls(emulator, ids)) >= 20)
        end(emulator, ids)
        await asyncio.gather(*tasks)
    told = [record.getMessage() for record in caplog.records if record.name == "of.a.trigger"]
    assert sorted(told) == sorted(
        f"Batch {number} is {status}."
        for number in ids
        for status in ("loading, as nobody has completed it", "aborted")
    )


async def test_a_deadline_that_is_over_still_gets_one_look(emulator: Any) -> None:
    ids = new_batches(emulator, 4)
    end(emulator, ids[:2])
    events = await asyncio.gather(*waiting(trigger(number, deadline=0.0) for number in ids))
    assert [event["status"] for event in events] == ["done", "done", "timeout", "timeout"]
    assert polls(emulator, ids) == [1, 1, 1, 1]


async def test_a_deadline_is_kept_although_others_poll_on(emulator: Any) -> None:
    ids = new_batches(emulator, 4)
    began = time.time()
    late = waiting(trigger(number, deadline=began + 2) for number in ids[:2])
    early = waiting(trigger(number, execution_deadline=began + 1) for number in ids[2:])
    assert {event["status"] for event in await asyncio.gather(*early)} == {"execution_timeout"}
    assert time.time() >= began + 1
    assert {event["status"] for event in await asyncio.gather(*late)} == {"timeout"}
    assert time.time() >= began + 2


async def test_many_wait_for_one_batch_with_one_request(emulator: Any) -> None:
    (number,) = new_batches(emulator, 1)
    tasks = waiting(trigger(number) for _ in range(150))
    await until(lambda: polls(emulator, [number])[0] >= 3)
    end(emulator, [number])
    assert {event["status"] for event in await asyncio.gather(*tasks)} == {"done"}
    assert len(requests_of(emulator)) == polls(emulator, [number])[0] <= 10


async def test_jobs_without_a_list_are_asked_for_one_by_one_through_one_client(emulator: Any) -> None:
    count = 200
    waits = [
        AdobeBulkProfileUpdateTrigger(
            batches=[
                {
                    "batch_id": str(number),
                    "status_url": f"{emulator.url}/m2/emulator/profile/batchStatus?batchId={number}",
                    "rows": 1,
                }
            ],
            deadline=time.time() + 120,
            poll_interval=1.0,
        )
        for number in range(count)
    ]
    emulator.faults.add(path="batchId=7&", status=404)
    emulator.faults.add(
        path="batchStatus",
        nth=list(range(1, 2 * count)),
        body="<response><batchId>0</batchId><status>processing</status></response>",
    )
    emulator.faults.add(
        path="batchStatus", body="<response><batchId>0</batchId><status>complete</status></response>"
    )
    tasks = waiting(waits)
    events = await asyncio.gather(*tasks)
    assert [number for number, event in enumerate(events) if event["status"] != "done"] == [7]
    assert isinstance(from_json(events[7]["error"]), AdobeNotFoundError)
    await all_is_closed(emulator)


async def test_a_connection_that_cannot_work_is_told_through_the_event(
    emulator: Any, adobe_connection: Any
) -> None:
    adobe_connection(ca_bundle="/nowhere/bundle.pem")
    ids = new_batches(emulator, 3)
    for event in await asyncio.gather(*waiting(trigger(number) for number in ids)):
        assert event["error"]["error"] == "AdobeConfigurationError"
    await all_is_closed(emulator)


async def test_triggers_that_start_together_look_their_connection_up_once(
    emulator: Any, adobe_connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_ups = []
    anew = adobe._look_up_anew

    async def counted(*arguments: Any) -> Any:
        look_ups.append(arguments)
        return await anew(*arguments)

    monkeypatch.setattr(adobe, "_look_up_anew", counted)
    hooks = [AdobeHook() for _ in range(500)]
    first = asyncio.create_task(settings_of(hooks[0]))
    others = [asyncio.create_task(settings_of(hook)) for hook in (*hooks[1:], AdobeHook(sandbox="dev"))]
    await asyncio.sleep(0)
    first.cancel()  # who began it leaves, and disturbs nobody
    found = await asyncio.gather(*others)
    assert look_ups == [("adobe_default", None), ("adobe_default", "dev")]
    assert {settings.sandbox for settings in found} == {"prod", "dev"}
    assert len({id(settings) for settings in found}) == 2

    adobe_connection(max_attempts=2)
    assert (await settings_of(AdobeHook())).max_attempts == 2
    adobe_connection(sandbox="Not A Name")
    for failure in await asyncio.gather(
        *(settings_of(AdobeHook()) for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(failure, AdobeConfigurationError)
    assert adobe._look_ups == {}


async def settings_of(hook: AdobeHook) -> Any:
    async with hook.subscription() as subscription:
        return subscription.settings


_TRIGGERER = """
import asyncio, json, sys, time
from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

async def event_of(batch_id):
    one = AdobeBatchTrigger(batch_id=batch_id, deadline=time.time() + 60, poll_interval=1.0)
    return [event.payload["result"]["status"] async for event in one.run()][0]

async def main():
    return await asyncio.gather(*(event_of(batch_id) for batch_id in sys.argv[1:]))

print(json.dumps(asyncio.run(main())))
"""


def test_two_triggerers_do_not_disturb_each_other(emulator: Any) -> None:
    """Highly available: each has half of the triggers, and one has some of the other's for a while."""
    ids = new_batches(emulator, 60)
    shares = (ids[:40], ids[30:])
    processes = [
        subprocess.Popen([sys.executable, "-c", _TRIGGERER, *share], stdout=subprocess.PIPE, text=True)
        for share in shares
    ]
    try:
        deadline = time.monotonic() + 60
        while min(polls(emulator, ids)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        end(emulator, ids)
        told = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert told == [["aborted"] * len(share) for share in shares]
    assert len(requests_of(emulator)) == len(lists(emulator))
