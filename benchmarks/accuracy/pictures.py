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
from data.schema import KEYS, QUANTILES
from data.settings import ROOT
from data.warehouse import known_at_morning
from feature_repo.build import known_versions
from models import conformal, gbm
from models.dataset import actuals
from models.forecaster import Forecaster
from models.plots import effects_plot, forecast_plot, lead_plot, ratio_plot, reliability_plot
from models.training import refit

FOLDER = ROOT / "docs" / "images"


def draw(lab: Lab, plan: Origins, found: Found, rows: Sequence[Row]) -> None:
    """Writes every picture of the documents."""
    figures = {**of_model(lab, plan), "lead": by_lead(found, plan), "curves": curves(rows)}
    for name, figure in figures.items():
        figure.savefig(FOLDER / f"accuracy-{name}.png", dpi=110)


def of_model(lab: Lab, plan: Origins) -> dict[str, Figure]:
    """The model of a training at the newest origin: its forecasts, intervals and effects."""
    origin, data = plan.last, lab.data
    until = replace(data, cutoff=origin, sales=data.known(origin))
    training = refit(until, gbm.DEFAULTS, seed=lab.seed)
    model = Forecaster(training.booster, training.manifest)
    features = data.features.filter(pl.col("cutoff") == origin)
    known = known_versions(data.plan, known_at_morning(origin, data.timezone))
    forecasts = model.forecast(features, known, model.horizon)
    scored = actuals(forecasts, data.sales, until=data.cutoff, steps=data.spec.steps)
    fold = lab.fold(origin)
    return {
        "forecasts": forecast_plot(scored, until.sales, data.spec.steps),
        "reliability": reliability_plot(pit_of(scored, features, model), QUANTILES),
        "effects": effects_plot(training.booster, fold.x[~fold.closed], lab.seed),
    }


def pit_of(scored: pl.DataFrame, features: pl.DataFrame, model: Forecaster) -> pl.DataFrame:
    """`u` of every actual and the volume tier of its series, see models.conformal.pit."""
    rows = scored.filter(pl.col("y").is_not_null())
    y, y_hat, step = (rows[c].to_numpy() for c in ("y", "y_hat", "step"))
    u = conformal.pit(y, y_hat, step, model.manifest.calibration)
    tiers = judge.tiers_of(features)
    return rows.with_columns(u=pl.Series(u)).join(tiers, on=KEYS).select("u", "tier")


def by_lead(found: Found, plan: Origins) -> Figure:
    """WRMSSE by lead week of models that are fitted at each weekly origin."""
    fresh = found.trained(plan.every(1), FRESH)
    table = judge.figures(judge.scaled(fresh, found.scales, ["lead_week"]), ["lead_week"])
    order = pl.Series("level", judge.HEADLINE).to_frame()
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
    ends = {end: [row.get(end) for row in own] for end in ("low", "high")}
    return pl.DataFrame(
        {"x": weeks, "ratio": [row["ratio"] for row in own], **ends}, schema_overrides=FLOATS
    )


FLOATS = {"low": pl.Float64, "high": pl.Float64}
