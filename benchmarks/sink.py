# SPDX-License-Identifier: Apache-2.0
"""The sink: a small C program, compiled here, that shows in each run that it is no bottleneck."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SOURCE = Path(__file__).with_suffix(".c")


@contextmanager
def compiled() -> Iterator[Path]:
    """Give the compiled program.

    :raises SystemExit: without a C compiler: a sink in Python would measure itself.
    """
    if shutil.which("cc") is None:
        raise SystemExit("this benchmark needs a C compiler (cc) for its sink, and curl")
    with tempfile.TemporaryDirectory(prefix="adobe-sink-") as folder:
        program = Path(folder) / "sink"
        subprocess.run(["cc", "-O2", "-pthread", "-o", str(program), str(SOURCE)], check=True)
        yield program


@contextmanager
def running(program: Path, emulator_url: str, milliseconds: int = 0) -> Iterator[tuple[str, int]]:
    """Serve, and give the URL and the id of the process.

    :param program: what :func:`compiled` gave.
    :param emulator_url: who responds to all else.
    :param milliseconds: before a response to a file, or from memory.
    """
    port = str(urlsplit(emulator_url).port)
    command = [str(program), "serve", port, str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid
        finally:
            process.terminate()


def proof(program: Path, url: str, size: int) -> dict[str, Any]:
    """Measure how fast the sink takes bytes from a C program, and how fast this machine moves memory.

    :param program: what :func:`compiled` gave.
    :param url: of the sink.
    :param size: bytes.
    """
    command = [str(program), "blast", str(urlsplit(url).port), str(size)]
    seconds = min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3))
    memory = bytearray(256 << 20)
    begun = time.perf_counter()
    bytes(memory)
    return {
        "sink_gb_per_s": round(size / 1e9 / seconds, 2),
        "memory_gb_per_s": round(len(memory) / 1e9 / (time.perf_counter() - begun), 2),
    }


def with_curl(url: str, file: Path) -> float:
    """Send a file with ``curl -T``, and return the seconds."""
    begun = time.perf_counter()
    subprocess.run(["curl", "-sS", "--fail", "-T", str(file), f"{url}/sink/curl"], check=True)
    return time.perf_counter() - begun
