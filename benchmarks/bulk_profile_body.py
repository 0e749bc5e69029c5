# SPDX-License-Identifier: Apache-2.0
"""Memory and speed of the body of a bulk profile update: 500,000 rows of CSV and of Parquet become an upload.

    python -m benchmarks.bulk_profile_body [--rows 500000]

Peers: for CSV, the loop over ``csv.reader`` and ``quote`` that everybody writes, and pandas; for Parquet, the
loop over the rows of pyarrow. Rounds alternate; a ratio is the median over the rounds, in processor time, as
only one works. The body is compared byte by byte with an encoder that shares nothing with ours.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import figures, peers

ROUNDS = 5
SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
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


def write_csv(parquet: Path, file: Path, *, quoted: bool = False) -> None:
    """Write the same rows as CSV."""
    import pyarrow.parquet as pq

    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerow(COLUMNS)
        for batch in pq.ParquetFile(parquet).iter_batches():
            for row in batch.to_pylist():
                writer.writerow([_text(row[name]) for name in COLUMNS])


def _text(value: Any) -> str:
    return "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)


def independent(file: Path) -> str:
    """Return the SHA-256 of the body, by an encoder that shares nothing with ours: one byte at a time."""
    import pyarrow.parquet as pq

    table = {byte: chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in range(256)}

    def cell(value: Any) -> str:
        return "".join(map(table.__getitem__, _text(value).encode("utf-8")))

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
    begun = time.process_time()
    with Parts(Columns("thirdPartyId", "customer")) as writer:
        file_format: Any = path.suffix.removeprefix(".")
        parts = writer.write([table_of_file(lambda: path.open("rb"), file_format, path.name)])
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "uploads": [part.rows for part in parts],
        "bytes": [part.size for part in parts],
        "sha256": [part.sha256 for part in parts],
        "seconds": seconds,
        "rows_per_second": round(sum(part.rows for part in parts) / seconds),
        "megabytes_above_idle": round((peak - idle) / 1024, 1),
    }


def loop(file: str) -> dict[str, Any]:
    """What a script would do: each row read, quoted cell by cell, and written."""
    from urllib.parse import quote

    import pyarrow.parquet as pq

    path = Path(file)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    rows = 0
    with tempfile.TemporaryFile("w", encoding="ascii") as body:
        body.write("batch=thirdPartyId," + ",".join(COLUMNS[1:]))
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as source:
                reader = csv.reader(source)
                next(reader)
                for cells in reader:
                    body.write("\n" + ",".join([quote(cell, safe="") for cell in cells]))
                    rows += 1
        else:
            for batch in pq.ParquetFile(path).iter_batches():
                for row in batch.to_pylist():
                    body.write("\n" + ",".join([quote(_text(row[name]), safe="") for name in COLUMNS]))
                    rows += 1
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "rows_per_second": round(rows / seconds),
        "megabytes_above_idle": round((peak - idle) / 1024, 1),
    }


def beside_the_loop(pool: Any, file: Path, rounds: int) -> dict[str, Any]:
    """Measure both on one file, in turn."""
    measured = [(pool.apply(ours, (str(file),)), pool.apply(loop, (str(file),))) for _ in range(rounds)]
    found = {
        "ours_rows_per_second": round(statistics.median(us["rows_per_second"] for us, _ in measured)),
        "loop_rows_per_second": round(statistics.median(peer["rows_per_second"] for _, peer in measured)),
        "times_the_loop": figures.ratio(
            [peer["seconds"] for _, peer in measured], [us["seconds"] for us, _ in measured]
        ),
        "ours_megabytes_above_idle": max(us["megabytes_above_idle"] for us, _ in measured),
        "loop_megabytes_above_idle": max(peer["megabytes_above_idle"] for _, peer in measured),
    }
    return found | {"uploads": measured[0][0]["uploads"], "sha256": measured[0][0]["sha256"]}


def beside_pandas(pool: Any, file: Path, rows: int, wanted: str) -> Any:
    """Measure us and pandas on one file, in turn."""
    rounds = []
    for _ in range(3):
        if (peer := peers.measured("pandas", str(file))) is None:
            return peers.MISSING
        rounds.append((pool.apply(ours, (str(file),)), peer))
    return {
        "rows_per_second": round(statistics.median(rows / peer["seconds"] for _, peer in rounds)),
        "times_pandas": figures.ratio(
            [peer["seconds"] for _, peer in rounds], [us["seconds"] for us, _ in rounds]
        ),
        "megabytes_above_idle": max(peer["megabytes_above_idle"] for _, peer in rounds),
        "byte_exact": {peer["sha256"] for _, peer in rounds} == {wanted},
    }


def growth(pool: Any, folder: Path) -> dict[str, dict[int, float]]:
    """Measure seconds for more and more rows."""
    curves: dict[str, dict[int, float]] = {}
    for rows in SIZES:
        parquet, text = folder / f"{rows}.parquet", folder / f"{rows}.csv"
        pool.apply(write_parquet, (parquet, rows))
        pool.apply(write_csv, (parquet, text))
        for label, measure_one, file in (
            ("ours, CSV", ours, text),
            ("csv + quote", loop, text),
            ("ours, Parquet", ours, parquet),
            ("pyarrow rows + quote", loop, parquet),
        ):
            seconds = [pool.apply(measure_one, (str(file),))["seconds"] for _ in range(3)]
            curves.setdefault(label, {})[rows] = round(statistics.median(seconds), 6)
    return curves


def measure(rows: int, rounds: int = ROUNDS) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    before = figures.load()
    with tempfile.TemporaryDirectory() as name, spawn.Pool(1, maxtasksperchild=1) as pool:
        folder = Path(name)
        parquet = folder / "profiles.parquet"
        pool.apply(write_parquet, (parquet, rows))
        wanted = [pool.apply(independent, (parquet,))]
        found: dict[str, Any] = {"machine": figures.machine(), "rows": rows}
        for label, file, quoted in (
            ("csv", folder / "profiles.csv", False),
            ("csv_all_quoted", folder / "quoted.csv", True),
            ("parquet", parquet, False),
        ):
            if file != parquet:
                pool.apply(write_csv, (parquet, file), {"quoted": quoted})
            one = beside_the_loop(pool, file, rounds)
            if label == "csv":
                one["pandas"] = beside_pandas(pool, file, rows, wanted[0])
            one["byte_exact"] = one.pop("sha256") == wanted if one.pop("uploads") == [rows] else None
            found[label] = one | {"megabytes": round(file.stat().st_size / 1e6, 1)}
        found["growth_seconds"] = growth(pool, folder)
    figures.plot(
        "bulk-profile-body",
        "Rows into the body of a bulk profile update",
        "rows",
        "seconds",
        found["growth_seconds"],
    )
    return found | {"load_average": [before, figures.load()]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rows, arguments.rounds), indent=2))
