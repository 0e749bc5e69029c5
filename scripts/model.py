# SPDX-License-Identifier: Apache-2.0
"""``make model``: what 200 tenants cost, from unit costs that are measured here; written into
docs/performance.md.

The deferred tasks of one triggerer are simulated in full: as many real triggers, spread over as many
connections, against the emulator in another process. Requests of an ingestion and of a sync are counted in
runs of the operators. All else is arithmetic, written down in :func:`rows`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from scripts.local_airflow import REPO, connection_to, emulator_process

DOCUMENT = REPO / "docs" / "performance.md"
BEGIN, END = "<!-- written by make model -->", "<!-- end of the model -->"
#: Adobe's guardrails for batch ingestion; of Catalog, Audience Manager and IMS it publishes no limit.
MAX_BATCHES_A_MINUTE, SOFT_BATCHES_A_DAY = 2_000, 90


@dataclass(frozen=True)
class Load:
    """What is asked of the installation.

    :ivar tenants: organisations, each with a connection.
    :ivar groups: of Audience Manager, in all tenants together; synced once a day.
    :ivar changes: share of the groups that a sync changes.
    :ivar batches: a day, in all tenants together.
    :ivar deferred: tasks that wait at one time.
    :ivar triggerers: that they are spread over.
    :ivar workers: hosts that run tasks.
    :ivar poll_interval: seconds.
    """

    tenants: int = 200
    groups: int = 50_000
    changes: float = 0.01
    batches: int = 100_000
    deferred: int = 10_000
    triggerers: int = 4
    workers: int = 20
    poll_interval: float = 30.0


@dataclass
class Costs:
    """What was measured.

    :ivar polls_a_minute: status requests of one triggerer with its share of the waits.
    :ivar tokens: access tokens that it asked for.
    :ivar megabytes: that it grew by.
    :ivar masking: seconds of processor time for which Airflow's log masker learns the secrets of all tenants.
    :ivar ingestion: requests of one ingestion of one file, without polls and tokens.
    :ivar sync: requests of a sync of ten groups that changes nothing.
    :ivar sync_for_each_group: requests that each further group costs.
    :ivar change: requests that a group to be created costs, with all that is read.
    """

    polls_a_minute: float = 0
    tokens: int = 0
    megabytes: float = 0
    masking: float = 0
    ingestion: int = 0
    sync: int = 0
    sync_for_each_group: float = 0
    change: float = 0


class Control:
    """The emulator's control API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.api = httpx.Client(base_url=f"{url}/_emulator", timeout=60, trust_env=False)

    def reset(self, **switches: Any) -> None:
        self.api.post("/reset").raise_for_status()
        self.api.patch("/switches", json=switches).raise_for_status()

    def paths(self) -> list[str]:
        """Return method and path of each request since the journal was emptied."""
        entries = self.api.get("/journal").raise_for_status().json()
        return [f"{entry['method']} {entry['path']}" for entry in entries]

    def connect(self, name: str, client_id: str = "emulator-client") -> None:
        """Set the connection of a tenant."""
        connection = connection_to(self.url)
        if client_id != connection["login"]:
            secret = f"secret-of-{client_id}"
            body = {"client_id": client_id, "client_secret": secret}
            self.api.post("/credentials", json=body).raise_for_status()
            connection |= {"login": client_id, "password": secret}
        os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)


def resident() -> float:
    """Return the megabytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


def new_batches(count: int) -> list[str]:
    """Create batches that stay as they are."""
    from airflow_provider_adobe_audiences.adobe.experience_platform import create_batch
    from airflow_provider_adobe_audiences.hooks.experience_platform import AdobeExperiencePlatformHook

    with AdobeExperiencePlatformHook("tenant_0").session() as session:
        return [session.send(create_batch("ds", input_format="json")).id for _ in range(count)]


def masker() -> Any:
    """Return Airflow's own, or nothing where it is elsewhere."""
    from airflow.sdk._shared.secrets_masker import secrets_masker

    return secrets_masker._secrets_masker()


def learn_secrets(load: Load) -> float:
    """Let the masker learn a password and a token of 400 characters for each tenant, as a triggerer does that
    starts; then switch it off, so that it does not drown what else is measured.
    """
    from airflow.sdk.log import mask_secret

    began = time.process_time()
    for _ in range(load.tenants):
        mask_secret(secrets.token_hex(16))
        mask_secret(secrets.token_hex(200))
    took = time.process_time() - began
    known = masker()
    known.patterns, known.replacer, known.min_length_to_mask = set(), None, 1 << 30
    return took


async def first_event(trigger: Any) -> None:
    async for _ in trigger.run():
        return


async def wait_in_one_triggerer(load: Load, control: Control, batches: list[str], costs: Costs) -> None:
    """Run a triggerer's share of the waits for three intervals, and count over the last two."""
    from airflow_provider_adobe_audiences.triggers.experience_platform import AdobeBatchTrigger

    triggers = [
        AdobeBatchTrigger(
            batch_id=batch_id,
            adobe_conn_id=f"tenant_{number % load.tenants}",
            deadline=time.time() + 3600,
            poll_interval=load.poll_interval,
        )
        for number, batch_id in enumerate(batches)
    ]
    before = resident()
    tasks = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
    await asyncio.sleep(load.poll_interval)
    failed = [task for task in tasks if task.done()]
    if failed:
        raise RuntimeError(f"{len(failed)} triggers have ended: {failed[0]}")
    costs.tokens = sum("/ims/" in path for path in await asyncio.to_thread(control.paths))
    control.api.delete("/journal").raise_for_status()
    await asyncio.sleep(2 * load.poll_interval)
    polls = [path for path in await asyncio.to_thread(control.paths) if "/catalog/batches" in path]
    costs.polls_a_minute = len(polls) * 60 / (2 * load.poll_interval)
    costs.megabytes = resident() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run_operators(control: Control, costs: Costs) -> None:
    """Count the requests of operators, each undisturbed."""
    from airflow_provider_adobe_audiences.operators.audience_manager import AdobeSyncGroupsOperator
    from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator

    def requests(operator: Any) -> int:
        control.api.delete("/journal").raise_for_status()
        ti = SimpleNamespace(
            dag_id="model", run_id="run", task_id=operator.task_id, map_index=-1, try_number=1,
            max_tries=0, xcom_push=lambda key, value: None,
        )  # fmt: skip
        operator.execute({"ti": ti, "dag_run": SimpleNamespace(logical_date=None, run_after=None)})
        return sum("/ims/" not in path for path in control.paths())

    def sync(groups: int) -> int:
        rows = [{"objectType": "TRAIT", "objectId": 1, "permissions": ["READ"]}]
        declared = [{"name": f"Group {number:03}", "permissions": rows} for number in range(groups)]
        return requests(
            AdobeSyncGroupsOperator(
                task_id="sync", desired={"groups": declared}, mode="apply", adobe_conn_id="tenant_0"
            )
        )

    few, many = 10, 40
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write('{"a": 1}\n')
        file.flush()
        costs.ingestion = requests(
            AdobeIngestBatchOperator(
                task_id="ingest", dataset_id="ds", source=file.name, adobe_conn_id="tenant_0",
                wait_for_completion=False,
            )
        )  # fmt: skip
    sync(few)
    costs.sync = sync(few)
    created = sync(many)
    costs.change = (created - costs.sync) / (many - few)
    costs.sync_for_each_group = (sync(many) - costs.sync) / (many - few)


def measure(load: Load) -> Costs:
    """Measure the unit costs."""
    costs = Costs()
    with emulator_process() as server:
        control = Control(server.url)
        control.reset(batch_seconds=0.0)
        control.connect("tenant_0")
        costs.masking = learn_secrets(load)
        run_operators(control, costs)
        control.reset(batch_polls=10**9)
        batches = new_batches(load.deferred // load.triggerers)
        for number in range(1, load.tenants):
            control.connect(f"tenant_{number}", f"tenant-{number}")
        control.api.delete("/journal").raise_for_status()
        asyncio.run(wait_in_one_triggerer(load, control, batches, costs))
    return costs


def rows(load: Load, costs: Costs) -> list[tuple[str, str, str]]:
    """Return what comes of it: name, figure, and what Adobe allows or how it was reckoned."""
    minutes = 24 * 60
    batches = load.batches / minutes
    of_a_tenant = load.batches / load.tenants
    groups = load.groups / load.tenants
    sync = costs.sync + costs.sync_for_each_group * (groups - 10) + costs.change * groups * load.changes
    polls = costs.polls_a_minute * load.triggerers
    alone = load.deferred * 60 / load.poll_interval
    hosts = load.workers + load.triggerers
    return [
        (
            "Batches",
            f"{batches:.0f} a minute, {of_a_tenant / minutes:.2f} of each tenant",
            f"Adobe: {MAX_BATCHES_A_MINUTE:,} a minute for each user. A tenant has {of_a_tenant:,.0f} a day: "
            f"for data of Profile Adobe recommends at most {SOFT_BATCHES_A_DAY} a day and sandbox, so merge "
            "files there",
        ),
        (
            "Requests of ingestions",
            f"{batches * costs.ingestion:,.0f} a minute",
            f"{costs.ingestion} for a batch of one file; no limit is published",
        ),
        (
            "Status requests",
            f"{polls:,.0f} a minute, {polls / load.tenants:.1f} of each tenant",
            f"measured; one for each wait and poll would be {alone:,.0f}, {alone / polls:.1f} times as many",
        ),
        (
            "Requests of the daily sync",
            f"{sync:,.0f} of each tenant, {sync * load.tenants:,.0f} in all",
            f"{groups:.0f} groups: {costs.sync_for_each_group:.1f} for each, and {costs.change:.1f} for "
            f"each of the {load.changes:.0%} that change; spread over a night of 6 hours "
            f"{sync * load.tenants / 360:,.0f} a minute. No limit is published",
        ),
        (
            "Access tokens",
            f"{hosts * load.tenants:,} a day",
            f"one a day for each host ({load.workers} workers, {load.triggerers} triggerers) and tenant; the "
            f"triggerer asked for {costs.tokens}. Where tasks share nothing (Kubernetes): one for each task, "
            f"{load.batches + load.tenants:,} and more",
        ),
        (
            "Memory of a triggerer",
            f"{costs.megabytes:,.0f} MB above its beginning",
            f"{load.deferred // load.triggerers:,} waits of {load.tenants} tenants: "
            f"{costs.megabytes * 1024 / (load.deferred / load.triggerers):.0f} KB for each; Airflow's own "
            "supervisor and log files come on top",
        ),
        (
            "Log masker of a triggerer",
            f"{costs.masking:.0f} s of processor time when it starts",
            "Airflow compiles all secrets anew with each further one: four times as long for twice the "
            "tenants, and longer for longer tokens than the 400 characters here",
        ),
        (
            "A wait",
            f"{load.deferred / load.batches * 24:.1f} hours on average",
            "so long do batches take when so many wait at a time (Little's law)",
        ),
    ]


def table(load: Load, costs: Costs) -> str:
    """Return the figures in Markdown."""
    lines = ["| | figure | how, and what Adobe allows |", "|---|---|---|"]
    lines += [f"| {name} | {figure} | {why} |" for name, figure, why in rows(load, costs)]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table into the document, with the day and the machine."""
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    today = date.today().isoformat()  # noqa: DTZ011  the day where it was made
    DOCUMENT.write_text(f"{before}{BEGIN}\nAs of {today}, {machine}.\n\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("tenants", "groups", "batches", "deferred", "triggerers", "workers"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Load, name))
    parser.add_argument("--poll-interval", type=float, default=Load.poll_interval)
    load = Load(**vars(parser.parse_args()))
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="adobe-model-") as home:
        os.environ.update(AIRFLOW_HOME=home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
        text = table(load, measure(load))
    print(text)
    if load == Load():
        write(text)


if __name__ == "__main__":
    main()
