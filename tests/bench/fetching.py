"""Measures one way from a CSV file to Parquet, in a process of its own; prints JSON.

    fetching.py make FOLDER                  write the file: all flights, or as many rows like them
    fetching.py kimi|pandas|duckdb FILE      read it

The way of this provider does more than the others: types over all rows instead of the first thousands,
ragged rows refused, profile, content hash, and a file that appears whole or not at all.
"""

from __future__ import annotations

import json
import sys
import time
import zipfile
from importlib import import_module
from pathlib import Path

FLIGHTS = Path(__file__).parents[3] / "shared" / "data" / "flights.csv.zip"
ROWS = 336_776
LIBRARIES = {
    "kimi": ["duckdb", "kimi_provider.sources.files"],
    "pandas": ["pandas", "pyarrow.parquet"],
    "duckdb": ["duckdb"],
}


def make(folder: Path) -> dict[str, object]:
    """Write the file."""
    file = folder / "flights.csv"
    if FLIGHTS.exists():
        with zipfile.ZipFile(FLIGHTS) as archive:
            archive.extract("flights.csv", folder)
        return {"file": str(file), "what": "all flights of a year"}
    import duckdb

    whole = ", ".join(f"CASE WHEN i % 41 > 0 THEN i * {n} % 2400 END AS n{n}" for n in range(1, 15))
    texts = "'N' || i % 4000 AS tail, chr(65 + i % 16) AS carrier, 'EWR' AS origin, 'IAH' AS dest"
    times = "strftime(to_timestamp(1357000000 + i * 90), '%Y-%m-%dT%H:00:00Z') AS at"
    duckdb.connect().execute(
        f"COPY (SELECT {whole}, {texts}, {times} FROM range({ROWS}) AS t(i)) "
        f"TO '{file}' (HEADER, NULLSTR 'NA')"
    )
    return {"file": str(file), "what": "made rows"}


def kimi(file: Path) -> int:
    """Read it as FileFetchOperator does."""
    from kimi_provider.sources.files import CsvOptions, FileRequest, fetch_files

    request = FileRequest(csv=CsvOptions(nulls=("NA",)))
    return fetch_files(request, {file.name: file}, file.with_name("kimi"), source="bench").rows


def pandas(file: Path) -> int:
    """Read it as most do."""
    from pandas import read_csv

    frame = read_csv(file)
    frame.to_parquet(file.with_name("pandas"))
    return len(frame)


def duckdb(file: Path) -> int:
    """Read it by one statement, written by hand."""
    from duckdb import connect

    connection = connect(config={"threads": "2"})
    connection.execute(
        f"COPY (FROM read_csv('{file}', nullstr = 'NA')) TO '{file.with_name('duckdb')}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    made = connection.execute(f"SELECT count(*) FROM read_parquet('{file.with_name('duckdb')}')")
    return int(made.fetchone()[0])


def peak() -> float:
    """Return the most memory that this process has held, in MiB; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run what the command line names."""
    name, argument = sys.argv[1:]
    if name == "make":
        sys.stdout.write(json.dumps(make(Path(argument))) + "\n")
        return
    for library in LIBRARIES[name]:  # what is imported is not what is measured
        import_module(library)
    at_rest = peak()
    cpu, wall = time.process_time(), time.perf_counter()
    rows = {"kimi": kimi, "pandas": pandas, "duckdb": duckdb}[name](Path(argument))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    figures = {"rows": rows, "rows_s": rows / wall, "cpu": cpu, "mib": peak() - at_rest}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
