# SPDX-License-Identifier: Apache-2.0
"""A person approves, or rejects, a plan in Airflow's own pages: a real Airflow, a real browser.

Needs Chromium and the Python package ``playwright``; skipped without them. With ``UPDATE_SCREENSHOTS=1`` the
pictures of the documentation are made anew.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from scripts.local_airflow import (
    FINISHED,
    REPO,
    LocalAirflow,
    airflow_standalone,
    connection_to,
    emulator_process,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

DAG_ID = "adobe_audience_manager_plan_approve_apply"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1180}, color_scheme="light")
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with emulator_process() as server:
        yield server.url


@pytest.fixture(scope="module")
def airflow(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    folder = tmp_path_factory.mktemp("dags")
    shutil.copy(REPO / "example_dags" / f"{DAG_ID}.py", folder)
    shutil.copytree(REPO / "example_dags" / "data", folder / "data", ignore=shutil.ignore_patterns("*.csv"))
    with airflow_standalone(folder, connections={"adobe_default": connection_to(emulator)}) as running:
        yield running


@pytest.fixture
def world(emulator: str) -> dict[str, Any]:
    """Groups to rename, to update, to delete, and one of somebody else."""
    trait = {"objectType": "TRAIT", "objectId": 1496, "permissions": ["READ", "WRITE"]}
    more = {"objectType": "SEGMENT", "objectId": 1496, "permissions": ["READ"]}
    with httpx.Client(base_url=f"{emulator}/_emulator", trust_env=False) as adobe:
        adobe.post("/reset").raise_for_status()
        user = adobe.post("/audience_manager/users", json={"username": "ann"}).raise_for_status().json()
        for body in (
            {
                "name": "EU Analysts",
                "description": "old text",
                "users": [user["userId"]],
                "permissions": [trait, more],
            },
            {"name": "EMEA Activation"},
            {"name": "EMEA Interns"},
            {"name": "APAC", "description": "somebody else's", "permissions": [trait]},
        ):
            adobe.post("/audience_manager/groups", json=body).raise_for_status()
    return groups(emulator)


def groups(emulator: str) -> dict[str, Any]:
    state = httpx.get(f"{emulator}/_emulator/state", trust_env=False).json()["audience_manager"]
    return {group["name"]: group for group in state["groups"]}


def writes(emulator: str) -> list[str]:
    journal = httpx.get(f"{emulator}/_emulator/journal", trust_env=False).json()
    return [f"{entry['method']} {entry['path']}" for entry in journal if entry["write"]]


def wait_until_asked(airflow: LocalAirflow, run_id: str, tries: int = 0) -> int:
    """Wait until the approval waits for a person, in a later try than ``tries``, or the run has ended. Return
    the number of the try.
    """
    deadline = time.monotonic() + 120
    while True:
        (approve,) = (task for task in airflow.task_instances(DAG_ID, run_id) if task["task_id"] == "approve")
        # Airflow 3.3 has a state of its own for it.
        if approve["state"] in ("awaiting_input", "deferred") and approve["try_number"] > tries:
            return int(approve["try_number"])
        if airflow.state(DAG_ID, run_id) in FINISHED:
            return tries
        assert time.monotonic() < deadline, airflow.report(DAG_ID, run_id)
        time.sleep(0.3)


def open_plan(airflow: LocalAirflow, page: Any, run_id: str) -> str:
    """Open the required action in the browser, and return what the person reads there."""
    wait_until_asked(airflow, run_id)
    page.context.add_cookies([{"name": "_token", "value": airflow.log_in(), "url": airflow.url}])
    page.goto(f"{airflow.url}/dags/{DAG_ID}/runs/{run_id}/tasks/approve/required_actions")
    page.get_by_role("button", name="Approve").wait_for()
    page.get_by_text("EMEA Interns").first.wait_for()
    return str(page.locator("body").inner_text())


def answer(airflow: LocalAirflow, page: Any, run_id: str, button: str) -> str:
    """Click, and return the state in which the run ends."""
    tries = 0
    # On a busy machine Airflow was seen to retry an approval that was answered within a second, and so to ask
    # once more.
    while (asked := wait_until_asked(airflow, run_id, tries)) > tries:
        open_plan(airflow, page, run_id)
        with page.expect_response(lambda response: response.request.method == "PATCH") as answered:
            page.get_by_role("button", name=button).click()
        assert answered.value.ok, answered.value.text()
        tries = asked
    return airflow.state(DAG_ID, run_id)


def picture(page: Any, name: str) -> None:
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        folder = REPO / "docs" / "images"
        folder.mkdir(exist_ok=True)
        page.screenshot(path=folder / name)


def test_a_rejected_plan_changes_nothing(
    airflow: LocalAirflow, emulator: str, world: dict[str, Any], page: Any
) -> None:
    run_id = airflow.trigger(DAG_ID)

    answer(airflow, page, run_id, "Reject")

    states = {task["task_id"]: task["state"] for task in airflow.task_instances(DAG_ID, run_id)}
    assert (states["plan"], states["apply"]) == ("success", "skipped"), airflow.report(DAG_ID, run_id)
    assert writes(emulator) == []
    assert {name: group["groupId"] for name, group in groups(emulator).items()} == {
        name: group["groupId"] for name, group in world.items()
    }


def test_an_approved_plan_is_applied(
    airflow: LocalAirflow, emulator: str, world: dict[str, Any], page: Any
) -> None:
    run_id = airflow.trigger(DAG_ID)
    shown = open_plan(airflow, page, run_id)

    for words in (
        "1 to create, 1 to rename, 1 to update, 3 permission changes, 1 to delete, 0 unchanged, 1 not "
        "managed",
        "EMEA Interns (groupId 1004), 0 members",
        "EU Analysts -> EMEA Analysts",
        "- TRAIT 1496: WRITE",
        "+ DESTINATION 304: READ, WRITE",
    ):
        assert words in shown
    # A table, not its source.
    assert page.locator("table").filter(has_text="EMEA Interns").count() == 1
    assert "|---|" not in shown
    assert writes(emulator) == []
    picture(page, "groups-approval.png")

    assert answer(airflow, page, run_id, "Approve") == "success", airflow.report(DAG_ID, run_id)
    after = groups(emulator)
    assert set(after) == {"APAC", "EMEA Activation", "EMEA Analysts", "EMEA Auditors"}
    assert after["EMEA Analysts"]["groupId"] == world["EU Analysts"]["groupId"]
    assert after["EMEA Analysts"]["users"] == world["EU Analysts"]["users"]
    assert after["APAC"] == world["APAC"]
    assert len(writes(emulator)) == 7
    page.goto(f"{airflow.url}/dags/{DAG_ID}/runs/{run_id}")
    page.get_by_text("apply").first.wait_for()
    picture(page, "groups-applied.png")
    # Where the file leads is reached: the next plan is empty, and nobody is asked.
    again = airflow.trigger(DAG_ID)
    airflow.wait(DAG_ID, again)
    assert {task["state"] for task in airflow.task_instances(DAG_ID, again)} == {"skipped"}, airflow.report(
        DAG_ID, again
    )
