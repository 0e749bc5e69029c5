# SPDX-License-Identifier: Apache-2.0
"""The access token that the tasks of a worker share: one request for a thousand of them, and nothing that
anybody else could use.
"""

from __future__ import annotations

import base64
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.adobe.client.token_cache import AccessToken, TokenCache, default_folder
from scripts.local_airflow import connection_to
from tests.faults.harness import World
from tests.faults.token_task import a_task

AT_ONCE = 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files like a worker's: the cache is below it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return default_folder()


@pytest.fixture
def fields(emulator: Any) -> dict[str, Any]:
    connection = connection_to(emulator.url, session_cache=True)
    return {"client_id": connection["login"], "client_secret": connection["password"], **connection["extra"]}


@pytest.fixture
def order(folder: Path, fields: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    return {"XDG_RUNTIME_DIR": str(folder.parent)}, fields


@pytest.fixture
def one_task(order: Any) -> Callable[[], int]:
    return lambda: a_task(order)


@pytest.fixture
def started(processes: Any, order: Any) -> Iterator[Callable[[], Any]]:
    """``started()`` starts a task and returns its process."""
    begun = []

    def start() -> Any:
        process = processes.Process(target=a_task, args=(order,), daemon=True)
        process.start()
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.join()


def token_file(folder: Path) -> Path:
    (file,) = folder.glob("*.token")
    return file


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_thousand_tasks_take_one_token_request(emulator: Any, processes: Any, order: Any) -> None:
    with processes.Pool(AT_ONCE, maxtasksperchild=1) as pool:  # each task in a process that is new
        assert sum(1 for _ in pool.imap_unordered(a_task, [order] * 1000, chunksize=1)) == 1000

    assert emulator.ims.token_requests == 1
    assert len(emulator.journal.find("GET", "/catalog/batches")) == 1000


def test_a_refused_token_is_renewed_once_for_all(
    emulator: Any, processes: Any, order: Any, one_task: Callable[[], int]
) -> None:
    one_task()
    emulator.ims.expire_tokens()

    with processes.Pool(AT_ONCE, maxtasksperchild=1) as pool:
        pool.map(a_task, [order] * 3 * AT_ONCE, chunksize=1)

    assert emulator.ims.token_requests == 2


def test_killing_the_task_that_asks_hardly_delays_the_others(
    emulator: Any, started: Callable[[], Any], request: pytest.FixtureRequest
) -> None:
    emulator.faults.add(path="/ims/token", nth=1, hold=True)
    asking = started()
    emulator.holds.wait()
    others = [started() for _ in range(AT_ONCE)]
    # All of them are in line for the lock once they have opened its file.
    World.wait_until(
        lambda: all(lock_file_open(process.pid) for process in others), "the tasks to wait for the lock"
    )

    asking.kill()
    killed = time.monotonic()
    emulator.holds.release("drop")
    for process in others:
        process.join(10)

    delay = time.monotonic() - killed
    request.node.user_properties.append(("delay", delay))

    assert [process.exitcode for process in others] == [0] * AT_ONCE
    assert delay < 2
    assert emulator.ims.token_requests == 1, "the request of the killed task never got that far"


def lock_file_open(pid: int) -> bool:
    try:
        return any(os.readlink(link).endswith(".lock") for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_what_is_at_rest_is_private_and_encrypted(
    emulator: Any, folder: Path, one_task: Callable[[], int]
) -> None:
    one_task()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (token,) = emulator.ims.tokens
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes() + file.name.encode()
        for secret in (token, "emulator-client-secret", "emulator-client"):
            for form in (secret, base64.b64encode(secret.encode()).decode(), secret.upper()):
                assert form.encode() not in content
    assert {file.suffix for file in folder.iterdir()} == {".token", ".lock"}


def test_it_is_off_by_a_setting(emulator: Any, folder: Path, fields: dict[str, Any]) -> None:
    for _ in range(2):
        a_task(({}, {**fields, "session_cache": False}))

    assert emulator.ims.token_requests == 2
    assert not folder.exists()


def test_another_secret_or_credential_does_not_share(
    emulator: Any, folder: Path, fields: dict[str, Any], one_task: Callable[[], int]
) -> None:
    one_task()
    emulator.ims.add_credential("another", "another-secret")
    a_task(({}, {**fields, "client_id": "another", "client_secret": "another-secret"}))
    emulator.ims.add_credential("emulator-client", "rotated-secret")
    a_task(({}, {**fields, "client_secret": "rotated-secret"}))

    assert emulator.ims.token_requests == 3
    wrong = AdobeSettings.of({**fields, "client_secret": "guessed"})
    assert TokenCache(wrong).read() is None, "who does not know the secret cannot read the token"


def test_a_user_does_not_get_the_token_of_another_with_the_same_client(folder: Path) -> None:
    fields = {
        "client_id": "c",
        "client_secret": "s",
        "authentication": "audience_manager_password",
        "username": "u",
    }
    TokenCache(AdobeSettings.of({**fields, "user_password": "right"})).write(
        AccessToken(SecretStr("token"), time.time() + 900)
    )

    found = TokenCache(AdobeSettings.of({**fields, "user_password": "right"})).read()
    assert found is not None
    assert found.value == SecretStr("token")
    assert TokenCache(AdobeSettings.of({**fields, "user_password": "wrong"})).read() is None


# ------------------------------------------------------------------------------------------- whatever is
# wrong, tasks go on working


def a_link(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)


def open_to_all(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)


def open_to_the_group(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def somebody_elses(folder: Path, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a folder that is somebody else's")
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)


def a_file(folder: Path, tmp_path: Path) -> None:
    folder.write_text("not a folder")


@pytest.mark.parametrize(
    "spoil",
    [a_link, open_to_all, open_to_the_group, somebody_elses, a_file],
    ids=lambda spoil: spoil.__name__,
)
def test_a_folder_that_is_not_ours_is_not_used(
    emulator: Any,
    folder: Path,
    tmp_path: Path,
    one_task: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, Path], None],
) -> None:
    spoil(folder, tmp_path)
    for _ in range(2):
        one_task()

    assert emulator.ims.token_requests == 2
    assert folder.is_file() or list(folder.iterdir()) == []
    assert f"{folder} is not a folder that only this user can open. Remove it." in caplog.text


def nothing(file: Path) -> None:
    file.write_bytes(b"")


def random_bytes(file: Path) -> None:
    file.write_bytes(os.urandom(500))


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def huge(file: Path) -> None:
    file.write_bytes(b"A" * 10_000_000)


def plain_json(file: Path) -> None:
    file.write_text('{"value": "stolen", "expires_at": 9e9, "renew_at": 9e9, "refresh_token": null}')


def readable_by_all(file: Path) -> None:
    file.chmod(0o644)


def a_link_to_another_file(file: Path) -> None:
    other = file.parent.parent / "precious"
    other.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(other)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def of_somebody_else(file: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a file that is somebody else's")
    os.chown(file, 12345, 12345)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "spoil",
    [
        nothing,
        random_bytes,
        cut_off,
        huge,
        plain_json,
        readable_by_all,
        a_link_to_another_file,
        a_pipe,
        of_somebody_else,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_file_that_is_not_right_is_ignored_and_replaced(
    emulator: Any, folder: Path, tmp_path: Path, one_task: Callable[[], int], spoil: Callable[[Path], None]
) -> None:
    one_task()
    spoil(token_file(folder))
    precious = tmp_path / "precious"
    before = precious.read_bytes() if precious.exists() else None

    one_task()
    assert emulator.ims.token_requests == 2
    one_task()
    assert emulator.ims.token_requests == 2, "the right file is back"
    assert (precious.read_bytes() if precious.exists() else None) == before


def test_a_directory_in_the_place_of_the_file_only_costs_requests(
    emulator: Any, folder: Path, one_task: Callable[[], int]
) -> None:
    one_task()
    file = token_file(folder)
    file.unlink()
    file.mkdir()
    for _ in range(2):
        one_task()

    assert emulator.ims.token_requests == 3


def test_a_link_in_the_place_of_the_lock_is_not_followed(
    emulator: Any, folder: Path, tmp_path: Path, one_task: Callable[[], int]
) -> None:
    one_task()
    (lock,) = folder.glob("*.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "created by following")
    token_file(folder).unlink()
    one_task()

    assert emulator.ims.token_requests == 2
    assert not (tmp_path / "created by following").exists()


def fill_the_disk_then_run(order: Any) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return a_task(order)


def test_a_full_disk_only_costs_requests(emulator: Any, folder: Path, processes: Any, order: Any) -> None:
    with processes.Pool(1, maxtasksperchild=1) as pool:
        assert pool.map(fill_the_disk_then_run, [order] * 2, chunksize=1) == [0, 0]

    assert emulator.ims.token_requests == 2
    assert not list(folder.glob("*.token"))
    assert not list(folder.glob(".new-*"))


def test_no_room_for_any_temporary_file_only_costs_requests(
    emulator: Any, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    for _ in range(2):
        a_task(({}, fields))

    assert emulator.ims.token_requests == 2
    assert "Access tokens are not shared between tasks: Not a directory." in caplog.text


def kill_while_writing(order: Any) -> None:
    """Die at the moment when the new file is complete but not in its place."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), 9)

    os.replace = die  # type: ignore[assignment]
    a_task(order)


def test_a_task_that_dies_while_it_writes_leaves_no_broken_file(
    emulator: Any, folder: Path, processes: Any, order: Any, one_task: Callable[[], int]
) -> None:
    process = processes.Process(target=kill_while_writing, args=(order,), daemon=True)
    process.start()
    process.join(10)
    assert process.exitcode == -9
    one_task()
    one_task()

    assert emulator.ims.token_requests == 2
