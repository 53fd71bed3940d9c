"""Writes the table of docs/speed.md from the result files."""

import json
from pathlib import Path

from benchmarks.rows import Row
from data.settings import ROOT

PAGE = ROOT / "docs" / "speed.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = ("metric", "unit", "ours", "theirs", "ratio", "target", "met")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value}"


def table(result: Path) -> str:
    """The rows of one result file as a Markdown table with its machine and commit."""
    found = json.loads(result.read_text())
    rows: list[Row] = found["rows"]
    head = f"{found['machine']}; commit `{found['commit'][:10]}`\n\n"
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(_cell(dict(row)[c]) for c in COLUMNS)} |" for row in rows]
    return head + "\n".join(lines) + "\n"


def render(page: str, result: Path) -> str:
    """The page with what stands between its markers replaced by the table."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(result)}{END}{after}"


def write(result: Path) -> None:
    PAGE.write_text(render(PAGE.read_text(), result))
