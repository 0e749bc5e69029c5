# SPDX-License-Identifier: Apache-2.0
"""``make soak``: the example DAGs again and again on a real Airflow, while one request in ten to the emulator
meets a fault, and once a minute somebody clears, marks or kills something (:mod:`scripts.soak_people`).

Then the faults are lifted, runs that failed or were disturbed are cleared once, and it is checked what now
stands at "Adobe" and in the store. Memory and open files of the emulator and of Airflow's processes are
sampled all the time. Ends with a non-zero exit code when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from scripts.demo import table
from scripts.local_airflow import (
    REPO,
    NotReady,
    airflow_standalone,
    connection_to,
    emulator_process,
)
from scripts.soak_measures import Sample, growth, sample, slopes
from scripts.soak_people import People
from scripts.soak_runs import DAGS, UPDATE, Soak

READ_TIMEOUT = 5.0
TOO_LONG = READ_TIMEOUT + 1
SAMPLE_SECONDS = 30
#: A token of 40 days: less than the Dag's `min_remaining`, so that every run rotates, and more than it
#: complains about.
TOKEN_SECONDS = 40 * 86_400

HTML = {"content-type": "text/html"}
TOO_MANY = {"error_code": "429050", "message": "Too many requests"}
REFUSED = {"error_code": "401013", "message": "Oauth token is not valid"}
#: An access token of IMS, not the profile token: that one Target's users lose only by a rotation.
WITH_IMS_TOKEN = r"^/(?!ims/|m2/|rest/v1/profiles)"
FAULTS: dict[str, dict[str, Any]] = {
    **{
        str(status): {"status": status, "body": {"message": "upstream request failed"}}
        for status in (500, 502, 503, 504)
    },
    "503 after it is committed": {
        "status": 503,
        "headers": HTML,
        "body": "<html>Bad gateway</html>",
        "phase": "after",
    },
    "429": {"status": 429, "body": TOO_MANY},
    "429 with Retry-After": {"status": 429, "body": TOO_MANY, "headers": {"retry-after": "2"}},
    "reset before it is processed": {"drop": True},
    "reset after it is committed": {"drop": True, "phase": "after"},
    "closed without an answer": {"drop": "close"},
    "truncated answer": {"truncate": 5},
    "read timeout, not processed": {"delay": TOO_LONG, "drop": True},
    "read timeout, committed": {"delay": TOO_LONG, "phase": "after", "drop": True},
    "read timeout, processed late": {"delay": TOO_LONG},
    "HTML instead of JSON": {
        "status": 200,
        "headers": HTML,
        "body": "<html><title>Log in to the guest network</title></html>",
    },
    "token expired": {"expire_token": True, "path": WITH_IMS_TOKEN},
    "401 once": {"status": 401, "body": REFUSED, "path": WITH_IMS_TOKEN},
}


def rules(share: float) -> dict[str, dict[str, Any]]:
    """Return fault rules, equally likely, that together meet this share of the requests."""
    each = 1 - (1 - share) ** (1 / len(FAULTS))
    return {name: {**fault, "probability": each} for name, fault in FAULTS.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.soak", description="Run the example Dags under faults for a while."
    )
    parser.add_argument(
        "--minutes", type=float, default=30, help="for so long new runs are started (default: %(default)s)"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.1,
        help="share of the requests that meet a fault (default: %(default)s)",
    )
    parser.add_argument(
        "--at-once", type=int, default=3, help="so many Dags run at once (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of what people do (default: the time)"
    )
    asked = parser.parse_args(arguments)
    # Told to end, clean up first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="adobe-soak-") as name:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        dags = folder / "dags"
        shutil.copytree(REPO / "example_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        update = dags / f"{UPDATE}.py"
        # Runs that an asset starts have no conf.
        text = update.read_text()
        for shown, needed in (
            (
                "Param(\n            None,",
                f"Param(\n            '{(folder / 'staging' / 'assets').as_uri()}',",
            ),
            ("Param(False,", "Param(True,"),
        ):
            assert text.count(shown) == 1, f"{update.name} has other Params than this knows"
            text = text.replace(shown, needed)
        update.write_text(text)
        env = {
            "ADOBE_TARGET_POOL": "adobe_target",
            "ADOBE_TARGET_POOL_SLOTS": "4",
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        with emulator_process("--switch", f"profile_token_seconds={TOKEN_SECONDS}") as emulator:
            connection = connection_to(emulator.url, read_timeout=READ_TIMEOUT, session_cache=True)
            with (
                httpx.Client(base_url=emulator.url, timeout=30, trust_env=False) as adobe,
                airflow_standalone(dags, connections={"adobe_default": connection}, env=env) as airflow,
            ):
                people = People(airflow, airflow.server.process.pid, say, asked.seed)
                soak = Soak(airflow, adobe, folder, say, people=people)
                soak.prepare()
                numbers = {name: install(adobe, rule) for name, rule in rules(asked.share).items()}
                say(
                    f"{len(FAULTS)} kinds of faults strike {asked.share:.0%} of the requests; "
                    f"{asked.minutes:g} minutes begin, with seed {asked.seed}"
                )
                samples = disturb(
                    soak, asked.minutes * 60, asked.at_once, emulator.process.pid, airflow.server.process.pid
                )
                say("no new runs; waiting for those under way")
                soak.drain()
                counted = {rule["id"]: rule for rule in adobe.get("/_emulator/faults").json()}
                adobe.delete("/_emulator/faults").raise_for_status()
                failed = [(dag_id, run_id) for dag_id, run_id, state in soak.runs() if state == "failed"]
                retried = soak.retried()
                say(f"the faults are lifted; {len(failed)} runs failed, {len(people.touched)} were disturbed")
                for dag_id, run_id in failed:
                    say(airflow.report(dag_id, run_id))
                say(f"{len(soak.clear_at_last())} runs were cleared once")
                problems = soak.wrong_in_the_end()
                runs = soak.runs()
                requests = max(rule["matched"] for rule in counted.values())
                struck = {name: counted[number]["applied"] for name, number in numbers.items()}
    print(
        f"\nRequests: {requests}; with a fault: {sum(struck.values())} "
        f"({sum(struck.values()) / max(1, requests):.1%})\n"
    )
    print(table([("fault", "requests"), *struck.items()]))
    print(
        f"\nDag runs: {len(runs)}; failed before the faults were lifted: {len(failed)}; tasks that Airflow "
        f"retried: {retried}\n"
    )
    print(table([("Dag", "runs", "successful in the end"), *tally(runs)]))
    print("\nMemory (resident) and open files, medians of the early and the last sixth of the time:\n")
    print(table(growth(samples, asked.minutes * 60)))
    print(f"\nWhat people did (seed {asked.seed}):\n")
    print(table([("act", "times"), *sorted(people.acts.items())]))
    print("\nHow memory moves, with the standard error of the slope:\n")
    print(table(slopes(samples)), flush=True)
    for title, found in (("Noted when a run had just ended", soak.noted), ("Not as it should be", problems)):
        if found:
            print(f"\n{title}:\n" + "\n".join(f"  {one}" for one in found), flush=True)
    if not problems:
        say("Every run is a success and every invariant holds.")
    return 1 if problems else 0


def install(adobe: httpx.Client, rule: dict[str, Any]) -> int:
    return int(adobe.post("/_emulator/faults", json=rule).raise_for_status().json()["id"])


def disturb(
    soak: Soak, seconds: float, at_once: int, emulator: int, airflow: int
) -> list[tuple[float, Sample]]:
    """Keep some DAGs running for so many seconds; return the samples, each with its moment."""
    began, turn = time.monotonic(), 0
    samples: list[tuple[float, Sample]] = []
    while (now := time.monotonic() - began) < seconds:
        if now >= len(samples) * SAMPLE_SECONDS:
            samples.append((now, sample(emulator, airflow)))
            if missing := {"scheduler", "triggerer", "api_server", "dag-processor"} - set(samples[-1][1]):
                raise NotReady(
                    f"Airflow has lost its {', '.join(missing)}. Its last "
                    f"words:\n{soak.airflow.server.tail()}"
                )
            soak.say(
                ", ".join(
                    f"{name} {memory:.0f} MB {files} files"
                    for name, (memory, files) in sorted(samples[-1][1].items())
                )
            )
            # It keeps the last 20,000 requests by design, which would hide everything else.
            soak.adobe.delete("/_emulator/journal").raise_for_status()
        busy = soak.look()
        if len(busy) < at_once:
            idle = [dag_id for dag_id in DAGS[turn:] + DAGS[:turn] if dag_id not in busy]
            try:
                soak.start(idle[0])
            except httpx.HTTPError as error:
                soak.say(f"{idle[0]} was not started: {error}")
            turn = (DAGS.index(idle[0]) + 1) % len(DAGS)
        if soak.people is not None:
            soak.people.act(now, soak.newest())
        time.sleep(2)
    samples.append((seconds, sample(emulator, airflow)))
    return samples


def tally(runs: list[tuple[str, str, str]]) -> list[tuple[str, int, int]]:
    return [
        (
            dag_id,
            sum(one[0] == dag_id for one in runs),
            sum(one[0] == dag_id and one[2] == "success" for one in runs),
        )
        for dag_id in DAGS
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotReady as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
