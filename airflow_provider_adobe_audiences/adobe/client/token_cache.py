# SPDX-License-Identifier: Apache-2.0
"""Access tokens shared between the processes of one machine and user, encrypted at rest.

The folder is private (0700, owned by this user, not a link), a file is 0600, its content is encrypted with a
key that is derived from the client secret (and the user's password): who can read the file but does not know
them learns nothing. Whatever looks wrong is ignored, and the token asked for again; the cache can only save
requests, never cause a failure.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

    from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings

log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 64 * 1024
_MAX_WAIT = 60.0
_LOOK_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and when it ends.

    :param value: the token.
    :param renew_at: from when on another one is asked for, in seconds since the epoch by this machine's
        clock.
    :param refresh_token: only with Audience Manager's legacy password grant, and only if the client was
        provisioned for it.
    """

    value: SecretStr
    renew_at: float
    refresh_token: SecretStr | None = None


def default_folder() -> Path:
    """Return the folder for this user: below ``XDG_RUNTIME_DIR`` where that exists, otherwise in the folder
    for temporary files.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    try:
        base = Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    except FileNotFoundError:  # such as a full disk: where nothing can be made, nothing is shared
        base = Path(os.devnull)
    return base / f"airflow-adobe-tokens-{os.getuid()}"


class TokenCache:
    """The cached token of one credential.

    :param settings: the credential; its identity decides the file's name, its secret the key.
    :param folder: where the files are; see :func:`default_folder`.
    """

    def __init__(self, settings: AdobeSettings, folder: Path | None = None) -> None:
        self._folder = folder or default_folder()
        name = hashlib.sha256(json.dumps(settings.identity()).encode()).hexdigest()[:40]
        self._file = self._folder / f"{name}.token"
        self._lock_file = self._folder / f"{name}.lock"
        # A client's secret may be known to several users of Audience Manager; one does not get the token of
        # another.
        password = settings.user_password.get_secret_value() if settings.user_password else ""
        self._secret = SecretStr(json.dumps([settings.client_secret.get_secret_value(), password]))
        self._context = name.encode()

    def read(self) -> AccessToken | None:
        """Return the cached token, or ``None`` when there is none that can be trusted."""
        try:
            if not self._folder_is_ours(create=False):
                return None
            # Without O_NONBLOCK a pipe in the place of the file would hold the task for ever.
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                _check_private(os.fstat(file.fileno()), str(self._file))
                content = file.read(_MAX_FILE_BYTES + 1)
            fields = json.loads(self._cipher().decrypt(content))
            refresh = fields["refresh_token"]
            return AccessToken(
                value=SecretStr(str(fields["value"])),
                renew_at=float(fields["renew_at"]),
                refresh_token=SecretStr(str(refresh)) if refresh else None,
            )
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  whatever is wrong with the cache, asking for a new token is right
            log.info("The cached access token is not used (%s).", type(error).__name__)
            return None

    def write(self, token: AccessToken) -> None:
        """Replace the cached token, in one step. A failure is logged and otherwise ignored.

        :param token: to be shared.
        """
        fields = {
            "value": token.value.get_secret_value(),
            "renew_at": token.renew_at,
            "refresh_token": token.refresh_token.get_secret_value() if token.refresh_token else None,
        }
        try:
            if not self._folder_is_ours(create=True):
                return
            descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")  # created 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self._cipher().encrypt(json.dumps(fields).encode()))
                os.replace(temporary, self._file)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            log.warning(
                "The access token cannot be shared with other tasks of this worker: %s.", error.strerror
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this credential among all processes. The kernel frees it when its holder dies.

        After a minute of waiting the work is done without it: a token too many is better than a task that
        hangs.

        :returns: a context manager; the lock is freed at its end.
        """
        descriptor = None
        try:
            if self._folder_is_ours(create=True):
                with contextlib.suppress(OSError):
                    descriptor = os.open(
                        self._lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                    )
            if descriptor is not None:
                deadline = time.monotonic() + _MAX_WAIT
                while not _try_lock(descriptor) and time.monotonic() < deadline:
                    time.sleep(_LOOK_AGAIN)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _folder_is_ours(self, *, create: bool) -> bool:
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._folder, 0o700)
            status = os.lstat(self._folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("Access tokens are not shared between tasks: %s.", error.strerror)
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            log.warning(
                "Access tokens are not shared between tasks: %s is not a folder that only this user can "
                "open. Remove it.",
                self._folder,
            )
            return False
        return True

    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derive = HKDF(
            algorithm=hashes.SHA256(),
            length=32,
            salt=self._context,
            info=b"airflow-provider-adobe-audiences token cache",
        )
        return Fernet(base64.urlsafe_b64encode(derive.derive(self._secret.get_secret_value().encode())))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _check_private(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{name} is not a private file of this user")
    if status.st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{name} is too large")
