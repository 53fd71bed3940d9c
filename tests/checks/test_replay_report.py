"""The report of a replay, from results made by hand."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from checks import replay_report
from checks.replay_decisions import Decision
from checks.replay_results import Results

SINCE = date(2017, 9, 10)
NAMES = ["never", "every 28 days", "always", "gated"]


def policy_row(name: str, trainings: int) -> dict[str, Any]:
    return {
        "policy": name,
        "loss": 0.6,
        "loss_low": 0.55,
        "loss_high": 0.65,
        "ratio": 1.01,
        "low": 0.99,
        "high": 1.03,
        "horizon wrmsse mean": 0.61,
        "horizon bias": -0.02,
        "horizon coverage 80 inside": 0.8,
        "horizon pinball": None,
        "moved": 0.043,
        "trainings": trainings,
        "training_seconds": 12.0 * trainings,
        "daily_seconds": 160.0,
        "cost": 0.01,
        "retrains": trainings,
        "false_retrains": trainings // 2,
    }


@pytest.fixture
def found() -> Results:
    counts = dict(zip(NAMES, (0, 2, 5, 1), strict=True))
    weeks = [
        {
            "policy": name,
            "week": SINCE + timedelta(days=7 * k + 1),
            "value": 0.6 + 0.02 * i + 0.03 * (k % 3),
            "low": 0.55 + 0.02 * i,
            "high": 0.68 + 0.02 * i,
            "moved": 0.04 + 0.01 * i,
        }
        for i, name in enumerate(NAMES)
        for k in range(6)
    ]
    retrains = [
        {
            "policy": name,
            "cutoff": SINCE + timedelta(weeks=k + 1),
            "new": "n",
            "kept": "k",
            "days": 28,
            "ratio": 0.97 + 0.02 * k,
            "ratio_upper": 0.99 + 0.02 * k,
            "false": k >= 2,
        }
        for name, n in counts.items()
        for k in range(n)
    ]
    decisions = [
        Decision(name, SINCE + timedelta(weeks=1), "pass", ("<none> drifted",), {}, None, "v", 0.1)
        for name in NAMES
    ]
    return Results(
        since=SINCE,
        until=SINCE + timedelta(days=41),
        series=706,
        cpu_hour_price=0.05,
        clocks=("never", "every 28 days", "always"),
        policies=[policy_row(name, n) for name, n in counts.items()],
        weeks=weeks,
        retrains=retrains,
        decisions=decisions,
        recommended="gated",
        sentence="Choose `gated`: it costs less & errs no more.",
        hashes={"forecasts": "f" * 64, "scores": "5" * 64, "decisions": "d" * 64},
    )


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag not in ("meta", "br", "path", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use"):
            assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(found: Results) -> None:
    page = replay_report.html(found)
    loads = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import', page)
    assert all((a or b).startswith("#") for a, b in loads)
    assert "<script" not in page
    reader = Balance()
    reader.feed(page)
    assert not reader.open


def test_the_page_answers_first_and_shows_every_policy(found: Results) -> None:
    page = replay_report.html(found)
    answer = "Choose <code>gated</code>: it costs less &amp; errs no more."
    assert page.index(answer) < page.index("<table")
    assert all(page.count(name) >= 3 for name in NAMES)
    assert "&lt;none&gt; drifted" in page and "10 September 2017" in page
    assert all(value in page for value in found.hashes.values())


def test_charts_take_their_colours_from_the_theme(found: Results) -> None:
    page = replay_report.html(found)
    charts = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", charts))
    assert colours and all(c == "none" or c.startswith("var(--") for c in colours)
    used = set(re.findall(r"var\((--[\w-]+)\)", charts))
    light, dark = page.split("prefers-color-scheme: dark")[:2]
    assert all(f"{name}:" in light and f"{name}:" in dark for name in used - {"--type"})


def test_the_same_results_give_the_same_page(found: Results) -> None:
    assert replay_report.html(found) == replay_report.html(replace(found))


def test_a_replay_without_a_retrain_says_so(found: Results) -> None:
    assert "No model was replaced." in replay_report.html(replace(found, retrains=[]))


def test_a_replay_of_one_issue_has_no_movement_to_show(found: Results) -> None:
    still = {
        name: [{**row, "moved": None} for row in getattr(found, name)]
        for name in ("policies", "weeks")
    }
    one = replace(found, policies=still["policies"], weeks=still["weeks"])
    page = replay_report.html(one)
    assert "No two issues forecast the same day." in page
    assert "moved from one morning" not in page[: page.index("<table")] and "None" not in page
    assert "None" not in replay_report.markdown(one, Path("report.html"), "not logged")
    assert "gated/moved" not in replay_report.metrics(one)


def test_files_and_figures_hold_the_same_table(found: Results, tmp_path: Path) -> None:
    report, table, raw = replay_report.write(tmp_path, found)
    assert report.read_text() == replay_report.html(found)
    assert table.read_text().splitlines()[0].startswith("policy,loss,")
    assert json.loads(raw.read_text())["recommended"] == "gated"
    assert not list(tmp_path.glob("*.part"))
    assert replay_report.metrics(found)["gated/loss"] == 0.6
    assert replay_report.params(found)["digest scores"] == "5" * 64
    shown = replay_report.markdown(found, report, "not logged")
    assert found.sentence in shown and "| always | 0.600 |" in shown
    assert f"Report: not logged\n\nFile: `{report}`" in shown
    logged = replay_report.markdown(found, report, "http://127.0.0.1:5000/#/experiments/1/runs/a")
    assert f"[{report.name} in MLflow](http://127.0.0.1:5000/#/experiments/1/runs/a/art" in logged
    assert "file://" not in shown + logged
