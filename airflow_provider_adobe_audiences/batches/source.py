# SPDX-License-Identifier: Apache-2.0
"""The files of a batch, and what is remembered of them: names, sizes and fingerprints of their content.

The batch carries its :class:`Manifest` as tags, so that every later try, on whatever worker, can tell whether
the source is still the one that the batch was created for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

from airflow_provider_adobe_audiences.adobe.client.bodies import UPLOAD_PIECE
from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.adobe.client.parallel import in_parallel
from airflow_provider_adobe_audiences.errors import AdobeSourceError

MANIFEST_TAG = "airflow_source_manifest"
CONTENT_TAG = "airflow_source_content"
FILES_TAG = "airflow_source_files"
BYTES_TAG = "airflow_source_bytes"
EACH_TAG = "airflow_source_each"
CREATED_BY_TAG = "airflow_created_by"
EXTERNAL_ID_TAG = "airflow_external_id"

# A batch of more files carries no fingerprint of each.
_MAX_TOLD = 100
_READ_AT_ONCE = 64 * 1024 * 1024


@dataclass(frozen=True)
class SourceFile:
    """A file to send.

    :param name: its name within the batch, unique there.
    :param size: bytes.
    :param version: something that changes when the file is written again, such as a time of modification.
    :param open_at: opens it at a byte offset.
    :param where: its path, for messages.
    :param content_hash: a hash of its content that its storage keeps; without one the content is read.
    :param look: returns size and version as they are now.
    """

    name: str
    size: int
    version: str
    open_at: Callable[[int], IO[bytes]]
    where: str = ""
    content_hash: str = ""
    look: Callable[[], tuple[int, str]] | None = None

    def content(self, first_byte: int = 0, length: int | None = None) -> Content:
        """Return the bytes to send.

        :param first_byte: where to begin.
        :param length: how many; without it all that follow.
        :returns: the content; it opens the file anew for each attempt.
        """
        return Content(
            open=lambda: self.open_at(first_byte), length=self.size - first_byte if length is None else length
        )

    @cached_property
    def fingerprint(self) -> str:
        """What tells this content from any other: kept by the storage, or read once."""
        if self.content_hash:
            return hashlib.sha256(self.content_hash.encode()).hexdigest()[:32]
        try:
            begins = range(0, self.size, _READ_AT_ONCE)
            # Each processor reads some of a large file.
            is_large = len(begins) > 1
            tags = in_parallel(self._tag, begins, os.cpu_count() or 1) if is_large else [self._tag(0)]
            return hashlib.sha256(b"".join(tags)).hexdigest()[:32]
        except OSError as error:
            raise AdobeSourceError(f"{self.where or self.name} cannot be read: {error}") from error

    def _tag(self, first_byte: int) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES128
        from cryptography.hazmat.primitives.ciphers.modes import GCM

        # GMAC, with a key that is no secret: it tells contents apart by 128 bits as fast as they can be read;
        # with SHA-256 that takes longer than sending them.
        gmac, left = Cipher(AES128(bytes(16)), GCM(bytes(12))).encryptor(), _READ_AT_ONCE
        with self.open_at(first_byte) as file:
            while left and (piece := file.read(min(left, UPLOAD_PIECE))):
                gmac.authenticate_additional_data(piece)
                left -= len(piece)
        gmac.finalize()
        return gmac.tag

    def check_unchanged(self) -> None:
        """Look at the file again.

        :raises AdobeSourceError: when it has been written since it was resolved.
        """
        if self.look is None:
            return
        try:
            now = self.look()
        except OSError as error:
            raise AdobeSourceError(f"{self.where or self.name} cannot be read any more: {error}") from error
        if now != (self.size, self.version):
            raise AdobeSourceError(
                f"{self.where or self.name} changed while it was being sent "
                f"({self.size} bytes then, {now[0]} now)",
                hint="Let the task run again when nothing writes the file any more: it sends all of it anew.",
            )

    def entry(self) -> dict[str, Any]:
        """Return what a manifest says of this file, as JSON."""
        return {"name": self.name, "size": self.size, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class Manifest:
    """What a batch consists of.

    :param files: how many files.
    :param bytes: how many bytes they have together.
    :param names: a hash of all names and sizes.
    :param content: a hash of all names and fingerprints.
    :param each: short hashes of name and fingerprint of each; none for a batch of very many files.
    """

    files: int
    bytes: int
    names: str
    content: str
    each: tuple[str, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> Manifest:
        """Return the manifest of files.

        :param entries: what :meth:`SourceFile.entry` returns, in any order.
        """
        entries = list(entries)
        ordered = sorted((entry["name"], entry["size"], entry["fingerprint"]) for entry in entries)
        return cls(
            files=len(ordered),
            bytes=sum(size for _, size, _ in ordered),
            names=_hash([[name, size] for name, size, _ in ordered]),
            content=_hash([[name, fingerprint] for name, _, fingerprint in ordered]),
            each=tuple(_short(entry) for entry in entries) if len(entries) <= _MAX_TOLD else (),
        )

    @classmethod
    def from_tags(cls, tags: Mapping[str, Sequence[str]]) -> Manifest | None:
        """Return the manifest that a batch carries; ``None`` when it carries none.

        :param tags: the batch's tags, as Catalog shows them.
        """
        first = {name: values[0] for name, values in tags.items() if values}
        try:
            return cls(
                int(first[FILES_TAG]),
                int(first[BYTES_TAG]),
                first[MANIFEST_TAG],
                first[CONTENT_TAG],
                tuple(tags.get(EACH_TAG, ())),
            )
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, list[str]]:
        """Return the tags that a batch shall carry."""
        return {
            MANIFEST_TAG: [self.names],
            CONTENT_TAG: [self.content],
            FILES_TAG: [str(self.files)],
            BYTES_TAG: [str(self.bytes)],
        } | ({EACH_TAG: list(self.each)} if self.each else {})

    def holds(self, entries: Iterable[Mapping[str, Any]]) -> bool:
        """Return whether each of some files is among these, as it is now. What cannot be told is not so; one
        that is empty, and was, is none.

        :param entries: what :meth:`SourceFile.entry` returns.
        """
        if not self.each:
            return False
        names = {short.partition("-")[0] for short in self.each}
        return all(
            _short(entry) in self.each if entry["size"] else _short(entry).partition("-")[0] not in names
            for entry in entries
        )

    def difference(self, other: Manifest) -> str | None:
        """Return in words how ``other`` differs; ``None`` when it is the same content.

        :param other: another manifest.
        """
        if (self.files, self.bytes) != (other.files, other.bytes):
            return (
                f"other files or sizes now: {other.files} files with {other.bytes} bytes, not {self.files} "
                f"with {self.bytes}"
            )
        if self.names != other.names:
            return "other files or sizes now, though as many in all"
        return "other content now, with the same names and sizes" if self.content != other.content else None

    def counts(self) -> dict[str, int]:
        """Return the number of files and bytes, as results show them."""
        return {"files": self.files, "bytes": self.bytes}


def _short(entry: Mapping[str, Any]) -> str:
    return f"{_hash(entry['name'])[:12]}-{entry['fingerprint'][:16]}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
