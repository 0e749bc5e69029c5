# SPDX-License-Identifier: Apache-2.0
"""Memory and speed of the body of a bulk profile update: 500,000 rows of Parquet become one upload, in
constant memory.

    python -m benchmarks.bulk_profile_body [--rows 500000]

Compares the body byte by byte with an encoder of its own, and the time with what a small script would do:
pandas-like, all in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
CITIES = ["Oslo", "São Paulo", "東京", "New York, NY", "100% Köln", "a+b", "", "Zürich"]
COLUMNS = ("customer", "tier", "city", "score", "last_purchase", "opt_in", "note")


def write_parquet(file: Path, rows: int) -> None:
    """Write rows that do not compress, in a few row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = random.Random(4)
    schema = pa.schema(
        [
            ("customer", pa.string()),
            ("tier", pa.string()),
            ("city", pa.string()),
            ("score", pa.float64()),
            ("last_purchase", pa.date32()),
            ("opt_in", pa.bool_()),
            ("note", pa.string()),
        ]
    )
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, rows, 100_000):
            count = min(100_000, rows - first)
            writer.write_table(
                pa.table(
                    {
                        "customer": [f"c{first + number:09}" for number in range(count)],
                        "tier": [chance.choice(["gold", "silver", "bronze"]) for _ in range(count)],
                        "city": [chance.choice(CITIES) for _ in range(count)],
                        "score": [
                            round(chance.random() * 1000, 2) if number % 7 else None
                            for number in range(count)
                        ],
                        "last_purchase": pa.array(
                            [20_000 + chance.randrange(700) for _ in range(count)], pa.int32()
                        ).cast(pa.date32()),
                        "opt_in": [chance.random() < 0.5 for _ in range(count)],
                        "note": [f"{chance.getrandbits(128):x}" for _ in range(count)],
                    },
                    schema=schema,
                )
            )


def independent(file: Path) -> str:
    """Return the SHA-256 of the body, by an encoder that shares nothing with ours: one byte at a time."""
    import pyarrow.parquet as pq

    table = {byte: chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in range(256)}

    def cell(value: Any) -> str:
        text = (
            "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)
        )
        return "".join(map(table.__getitem__, text.encode("utf-8")))

    digest = hashlib.sha256(("batch=thirdPartyId," + ",".join(COLUMNS[1:])).encode())
    for batch in pq.ParquetFile(file).iter_batches():
        for row in batch.to_pylist():
            digest.update(("\n" + ",".join(cell(row[name]) for name in COLUMNS)).encode())
    return digest.hexdigest()


def ours(file: str) -> dict[str, Any]:
    """Write the body with the product; return its figures. Runs in a process of its own, so that its memory
    is its own.
    """
    import pyarrow.parquet  # noqa: F401  what is loaded before counts as idle

    from airflow_provider_adobe_audiences.profiles.encode import Columns
    from airflow_provider_adobe_audiences.profiles.parts import Parts
    from airflow_provider_adobe_audiences.profiles.rows import table_of_file

    path = Path(file)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    with Parts(Columns("thirdPartyId", "customer")) as writer:
        parts = writer.write([table_of_file(lambda: path.open("rb"), "parquet", path.name)])
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "uploads": [part.rows for part in parts],
        "bytes": [part.size for part in parts],
        "sha256": [part.sha256 for part in parts],
        "seconds": round(seconds, 2),
        "rows_per_second": round(sum(part.rows for part in parts) / seconds),
        "megabytes_above_idle": round((peak - idle) / 1024, 1),
    }


def naive(file: str) -> dict[str, Any]:
    """What a script would do: the whole table as Python rows, one text, quoted cell by cell."""
    from urllib.parse import quote

    import pyarrow.parquet as pq

    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    rows = pq.read_table(file).to_pylist()
    body = "batch=thirdPartyId," + ",".join(COLUMNS[1:]) + "\n"
    body += "\n".join(
        ",".join("" if row[name] is None else quote(str(row[name]), safe="") for name in COLUMNS)
        for row in rows
    )
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": round(seconds, 2),
        "megabytes_above_idle": round((peak - idle) / 1024, 1),
        "bytes": len(body),
    }


def measure(rows: int) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, spawn.Pool(1, maxtasksperchild=1) as pool:
        file = Path(folder) / "profiles.parquet"
        pool.apply(write_parquet, (file, rows))
        figures = {
            "rows": rows,
            "parquet_megabytes": round(file.stat().st_size / 1e6, 1),
            "ours": pool.apply(ours, (str(file),)),
        }
        if len(figures["ours"]["uploads"]) == 1:
            figures["byte_exact"] = pool.apply(independent, (file,)) == figures["ours"]["sha256"][0]
        figures["naive"] = pool.apply(naive, (str(file),))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    print(json.dumps(measure(parser.parse_args().rows), indent=2))
