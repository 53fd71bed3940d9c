"""The report of a replay: one HTML page that needs nothing else, and a table."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import polars as pl

from checks.replay_charts import retrains_chart, weekly_chart
from checks.replay_results import Results

TEMPLATE = Path(__file__).with_name("replay.html")
HEADS = (
    *("policy", "WRMSSE, week ahead", "against the least", "WRMSSE, whole horizon", "bias"),
    *("in 80 % band", "moved a day", "retrainings", "false", "CPU seconds, price"),
)


def html(results: Results) -> str:
    """The page; the same results give the same text."""
    chosen = next(row for row in results.policies if row["policy"] == results.recommended)
    none = "<p>No model was replaced.</p>"
    still = "<p>No two issues forecast the same day.</p>"
    moves = chosen["moved"] is not None
    return Template(TEMPLATE.read_text()).substitute(
        since=_day(results.since),
        until=_day(results.until),
        days=f"{(results.until - results.since).days // 7 + 1} weeks",
        series=f"{results.series:,}",
        price=f"{results.cpu_hour_price:g}",
        sentence=re.sub("`(.+?)`", r"<code>\1</code>", escape(results.sentence)),
        tiles=_tiles(chosen),
        policies=_table(HEADS, [_row(row, results.recommended) for row in results.policies]),
        accuracy_chart=weekly_chart(results, "value", "WRMSSE", bands=True),
        retrains_chart=retrains_chart(results) if results.retrains else none,
        stability_chart=weekly_chart(results, "moved", "share of a day", bands=False)
        if moves
        else still,
        decisions=_decisions(results),
        hashes="".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in results.hashes.items()),
    )


def table(results: Results) -> pl.DataFrame:
    """One row a policy."""
    return pl.DataFrame(results.policies)


def _tiles(row: dict[str, Any]) -> str:
    figures = [
        (
            row["loss"],
            ".3f",
            f"WRMSSE ({row['loss_low']:.3f} to {row['loss_high']:.3f})",
        ),
        (row["trainings"], "d", f"retrainings; {row['false_retrains']} came into service in vain"),
        (
            row["training_seconds"],
            ".0f",
            f"CPU seconds to train and decide, price {row['cost']:.4f}",
        ),
        (row["moved"], ".1%", "of a day's forecast moved from one morning to the next"),
    ]
    return "".join(
        f'<div class="tile"><b>{value:{form}}</b><span>{escape(text)}</span></div>'
        for value, form, text in figures
        if value is not None
    )


def _figure(value: float | None, form: str) -> str:
    """The figure; empty when there is none."""
    return "" if value is None else format(value, form)


def _row(row: dict[str, Any], chosen: str) -> tuple[str, list[str]]:
    def band(low: str, high: str, form: str, less: int) -> str:
        return _below(" to ".join(format(row[end] - less, form) for end in (low, high)))

    cells = [
        escape(row["policy"]),
        f"{row['loss']:.3f}" + band("loss_low", "loss_high", ".3f", 0),
        f"{row['ratio'] - 1:+.1%}" + band("low", "high", "+.1%", 1),
        _figure(row["horizon wrmsse mean"], ".3f"),
        _figure(row["horizon bias"], "+.1%"),
        _figure(row["horizon coverage 80 inside"], ".1%"),
        _figure(row["moved"], ".1%"),
        f"{row['trainings']}" + _below(f"{row['retrains']} in service"),
        f"{row['false_retrains']}",
        f"{row['training_seconds']:.0f}" + _below(f"{row['cost']:.4f}"),
    ]
    return "chosen" if row["policy"] == chosen else "", cells


def _below(text: str) -> str:
    return f'<span class="band">{escape(text)}</span>'


def _decisions(results: Results) -> str:
    """What the gate said, each time; a clock has nothing to say."""
    rows = [
        (
            "",
            [
                _day(d.cutoff),
                escape(d.policy),
                escape(d.outcome.replace("_", " ")),
                "<br>".join(escape(reason) for reason in d.reasons),
            ],
        )
        for d in results.decisions
        if d.policy not in results.clocks
    ]
    return _table(("after", "policy", "decision", "reasons"), rows)


def _table(heads: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for kind, cells in rows
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"


def _day(day: date) -> str:
    return f"{day:%-d %B %Y}"


def markdown(results: Results, report: Path, logged: str) -> str:
    """The answer and the table for the Prefect UI, with the way to the report."""
    columns = {
        "policy": "",
        "loss": ".3f",
        "ratio": ".3f",
        "moved": ".1%",
        "trainings": "d",
        "false_retrains": "d",
        "training_seconds": ".0f",
        "cost": ".4f",
    }
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [
        f"| {' | '.join(_figure(row[c], form) for c, form in columns.items())} |"
        for row in results.policies
    ]
    # A browser opens no file from a page that came over HTTP.
    page = f"[{report.name} in MLflow]({logged}/artifacts)" if logged.startswith("http") else logged
    where = f"Report: {page}\n\nFile: `{report}`\n"
    digests = "\n".join(f"- {name} `{value[:16]}`" for name, value in results.hashes.items())
    parts = [results.sentence, "\n".join(lines), where, "Digests:", digests]
    return "\n\n".join(parts) + "\n"


def params(results: Results) -> dict[str, object]:
    """What was replayed and what came of it, for the tracking server."""
    return {
        "since": results.since,
        "until": results.until,
        "series": results.series,
        "recommended": results.recommended,
        **{f"digest {name}": value for name, value in results.hashes.items()},
    }


def metrics(results: Results) -> dict[str, float]:
    """Every figure of every policy by name."""
    return {
        f"{row['policy']}/{name}": float(value)
        for row in results.policies
        for name, value in row.items()
        if isinstance(value, int | float)
    }


def write(folder: Path, results: Results) -> list[Path]:
    """Writes report.html, policies.csv and results.json into a folder; each appears whole."""
    texts = {
        "report.html": html(results),
        "policies.csv": table(results).write_csv(),
        "results.json": json.dumps(asdict(results), default=str, indent=1) + "\n",
    }
    paths = []
    for name, text in texts.items():
        part = folder / f"{name}.part"
        part.write_text(text)
        paths.append(part.rename(folder / name))
    return paths
