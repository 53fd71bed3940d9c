"""Pictures of docs/accuracy.md, from origins before the headline."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from matplotlib.figure import Figure

from benchmarks.accuracy import judge
from benchmarks.accuracy.lab import Lab
from benchmarks.accuracy.plan import Origins
from benchmarks.accuracy.tables import FRESH, Found
from benchmarks.rows import Row
from data.settings import ROOT
from models import gbm
from models.plots import lead_plot, ratio_plot, training_figures
from models.training import refit

FOLDER = ROOT / "docs" / "images"


def draw(lab: Lab, plan: Origins, found: Found, rows: Sequence[Row]) -> None:
    """Writes every picture of the documents: those of a training at the newest origin, and two of
    all models.
    """
    data = replace(lab.data, cutoff=plan.last, sales=lab.data.known(plan.last))
    figures = training_figures(refit(data, gbm.DEFAULTS, seed=lab.seed), data)
    figures |= {"error_by_lead": by_lead(found, plan), "history_and_age": curves(rows)}
    for name, figure in figures.items():
        figure.savefig(FOLDER / f"accuracy-{name.replace('_', '-')}.png", dpi=110)


def by_lead(found: Found, plan: Origins) -> Figure:
    """WRMSSE by lead week of models that are fitted at each weekly origin."""
    fresh = found.trained(plan.every(1), FRESH)
    table = judge.figures(judge.scaled(fresh, found.scales, ["lead_week"]), ["lead_week"])
    order = pl.DataFrame({"level": judge.HEADLINE})
    errors = order.join(table, on="level", maintain_order="left")
    return lead_plot(errors.select("level", "lead_week", error="wrmsse"), "WRMSSE")


def curves(rows: Sequence[Row]) -> Figure:
    """Loss by history and by age, over that of all history and of a new model."""
    shown = [
        (_curve(rows, "learning mean: "), "weeks of sales that the model knows"),
        (_curve(rows, "staleness mean: "), "weeks since the model was fitted"),
    ]
    return ratio_plot(shown, "WRMSSE over that of all history,\nof a model of the same week")


def _curve(rows: Sequence[Row], table: str) -> pl.DataFrame:
    own = [row for row in rows if row["metric"].startswith(table)]
    weeks = [int(row["metric"].removeprefix(table).split()[0]) for row in own]
    points = zip(weeks, own, strict=True)
    return pl.DataFrame(
        [(week, row["ratio"], row.get("low"), row.get("high")) for week, row in points],
        schema={"x": pl.Int64, "ratio": pl.Float64, "low": pl.Float64, "high": pl.Float64},
        orient="row",
    )
