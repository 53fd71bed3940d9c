"""Keeps result files, and fills the generated blocks of documents from them.

A document says `<!-- table NAME [PATTERN ...] -->`, `<!-- value NAME METRIC COLUMN FORMAT -->`,
`<!-- routes -->`, `<!-- scaling -->`, `<!-- margins -->` or `<!-- demo -->`;
what stands from there to `<!-- end -->` is written by `make bench` and by `python -m
benchmarks.report`, never by hand. PATTERN picks metrics by name, `*` for any text.
"""

import json
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil

from benchmarks.scaling import scaling
from data.settings import ROOT

RESULTS = ROOT / "benchmarks" / "results"
CELLS = ("days", "wrmsse", "wape", "mase", "bias", "pinball")  # of accuracy-cells.json
INTERVALS = ("coverage_50", "coverage_80", "coverage_95", "width_80")
COMPARED = ("metric", "unit", "ours", "theirs", "ratio", "low", "high", "target", "met")
COLUMNS = (*COMPARED, *CELLS, *INTERVALS)
BLOCK = re.compile(
    r"<!-- (table|value|routes|scaling|margins|demo)((?: [^>]+?)?) -->.*?<!-- end -->", re.DOTALL
)


def save(name: str, rows: Sequence[Mapping[str, Any]], *, merge: bool = False) -> None:
    """Writes benchmarks/results/NAME.json and fills the documents.

    `merge` keeps the rows of other metrics that are in the file, each with the commit that it was
    measured on: for results of several programs.
    """
    path, commit, before = RESULTS / f"{name}.json", _commit(), read(name)
    own = {row["metric"] for row in rows}
    kept = [
        row if before["commit"] == commit else {"commit": before["commit"]} | row
        for row in before["rows"]
        if merge and row["metric"] not in own
    ]
    found = {"commit": commit, "machine": machine(), "rows": [*kept, *rows]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    fill_documents()


def read(name: str) -> dict[str, Any]:
    """A result file; one without rows when there is none."""
    path = RESULTS / f"{name}.json"
    empty: dict[str, Any] = {"commit": "", "machine": "", "rows": []}
    return json.loads(path.read_text()) if path.exists() else empty


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _commit() -> str:
    """The commit that is checked out, and whether code was changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "*.py", "*.sql", "*.yml")
    return git("rev-parse", "HEAD") + ("+changes" if changed else "")


def documents() -> list[Path]:
    """Every document that may hold generated blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill_documents() -> None:
    for page in documents():
        text = page.read_text()
        if (filled := fill(text)) != text:
            page.write_text(filled)


def fill(text: str) -> str:
    """The text with every block made anew from the result files."""

    def block(found: re.Match[str]) -> str:
        kind, what = found.groups()
        if kind == "value":
            content = value(*what.split())
        elif kind == "table":
            content = f"\n{table(*what.split())}"
        else:
            content = f"\n{MADE[kind]()}"
        return f"<!-- {kind}{what} -->{content}<!-- end -->"

    return BLOCK.sub(block, text)


def table(name: str, *patterns: str) -> str:
    """The rows of a result file as a Markdown table, with its machine and commit below."""
    found = read(name)
    rows = [
        row
        for row in found["rows"]
        if not patterns or any(fnmatch(row["metric"], p) for p in patterns)
    ]
    if not rows:
        raise LookupError(f"results/{name}.json has no metric like {' or '.join(patterns)}.")
    columns = [c for c in COLUMNS if any(row.get(c) is not None for row in rows)]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row.get(c)) for c in columns)} |" for row in rows]
    commits = sorted({row.get("commit", found["commit"]) for row in rows})
    of = ", ".join(f"`{commit[:10]}{commit[40:]}`" for commit in commits)
    return "\n".join([*lines, "", f"{found['machine']}; commit {of}", ""])


def routes() -> str:
    """The routes of the forecast API as a Markdown table, out of its OpenAPI document."""
    # Imported late: the pages that hold figures only are filled in no time.
    from serving.edge import scope_of
    from serving.routes.application import create_api
    from serving.service import ForecastService

    lines = ["| route | what | scope |", "|---|---|---|"]
    for path, methods in create_api(ForecastService()).openapi()["paths"].items():
        for method, about in methods.items():
            open_to_all = "security" not in about
            scope = "open" if open_to_all else scope_of(method.upper(), path)
            lines.append(f"| `{method.upper()} {path}` | {about['summary']} | {scope} |")
    return "\n".join([*lines, ""])


def sizes() -> str:
    """What a day costs at other sizes, from the pipeline's figures."""
    found, replay = read("pipeline"), read("replay")
    rows = {row["metric"]: row["ours"] for row in (*found["rows"], *replay["rows"])}
    return scaling(rows, found["machine"], [found["commit"], replay["commit"]])


def limits() -> str:
    """What the retraining gate measured in worlds of known truth, beside its limits."""
    from benchmarks import margins

    found = read("thresholds")
    weeks = max(row["weeks"] for row in found["rows"])
    made = f"{weeks} weeks of clean worlds; commit `{found['commit'][:10]}{found['commit'][40:]}`"
    return "\n".join([margins.table(found["rows"]), "", made, ""])


def demonstration() -> str:
    """What the demonstration printed, see benchmarks.demonstration."""
    return f"```text\n{(RESULTS / 'demo.txt').read_text()}```\n"


MADE: dict[str, Callable[[], str]] = {
    "routes": routes,
    "scaling": sizes,
    "margins": limits,
    "demo": demonstration,
}


def value(name: str, metric: str, column: str, form: str) -> str:
    """One figure of a result file in a format such as `.2f` or `.0%`, or as a table's `cell`; `?`
    stands for a space."""
    for row in read(name)["rows"]:
        if fnmatch(row["metric"], metric):
            return _cell(row[column]) if form == "cell" else format(row[column], form)
    raise LookupError(f"results/{name}.json has no metric {metric}.")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"


if __name__ == "__main__":
    fill_documents()
