"""Plots of a model and of what it forecast; colours that all kinds of colour vision tell apart."""

from collections.abc import Sequence
from datetime import date
from textwrap import shorten

import lightgbm as lgb
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from data.schema import KEYS, QUANTILES
from data.steps import Steps
from models.backtest import TrainingData
from models.dataset import INPUTS, Rows
from models.metrics import DEPARTMENT, LEAD_WEEK, levels_of
from models.training import Training

BLUE, GREY = "#1f5fa8", "#444444"
# Okabe and Ito's, each with a marker of its own.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#444444", "x"),
)
SHOWN = 12  # inputs in the plot of effects
DOTS = 600  # per input


def training_figures(training: Training, data: TrainingData) -> dict[str, Figure]:
    """What a training's holdout and booster look like, by name."""
    holdout = training.holdout.filter(pl.col("y").is_not_null())
    cutoff: date = holdout["cutoff"][0]
    weekly = holdout.with_columns(lead_week=LEAD_WEEK, department=DEPARTMENT)
    errors = []
    for level, keys in levels_of(holdout).items():
        nodes = weekly.group_by("lead_week", "ds", *keys).agg(pl.col("y", "y_hat").sum())
        missed = (pl.col("y") - pl.col("y_hat")).abs().sum() / pl.col("y").sum()
        errors.append(nodes.group_by("lead_week").agg(error=missed, level=pl.lit(level)))
    volume = pl.col("y_hat").sum().over(KEYS).rank("dense")
    fifths = holdout.with_columns(tier=(volume * 5 / volume.max()).ceil().cast(pl.Int32))
    rows = (data.grid["cutoff"] == cutoff).to_numpy() & ~data.matrix[1]
    figures = {
        "forecast_against_actuals": forecast_plot(holdout, data.sales, data.spec.steps),
        "error_by_lead": lead_plot(pl.concat(errors), "errors of days over units sold (WAPE)"),
        "reliability": reliability_plot(fifths, QUANTILES),
    }
    if training.booster is not None:
        figures["effects"] = effects_plot(training.booster, data.matrix[0][rows])
    return figures


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _panel(axes: Axes, past: pl.DataFrame, days: pl.DataFrame, title: str) -> None:
    for low, high, alpha, level in (("q0.025", "q0.975", 0.15, 95), ("q0.1", "q0.9", 0.3, 80)):
        if low in days.columns:
            axes.fill_between(
                days["ds"],
                days[low],
                days[high],
                color=BLUE,
                alpha=alpha,
                linewidth=0,
                label=f"{level} % interval",
            )
    sold = pl.concat([past.select("ds", "y"), days.select("ds", "y")])
    axes.plot(sold["ds"], sold["y"], color=GREY, linewidth=0.9, label="sold")
    axes.plot(days["ds"], days["y_hat"], color=BLUE, linewidth=1.8, label="forecast")
    axes.axvline(past["ds"][-1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set_title(title, fontsize=13, loc="left")
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=12)
    ends = [past["ds"][0], past["ds"][-1], days["ds"][-1]]
    axes.set_xticks(ends, [f"{ds:%d %b}" for ds in ends])
    _bare(axes)


def _before(cutoff: date, sales: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    """Units of each of the 56 steps up to the cutoff; one without a row sold nothing."""
    days = pl.DataFrame({"ds": steps.ahead(steps.after(cutoff, -56), 56)})
    daily = sales.group_by("ds").agg(pl.col("y").sum())
    return days.join(daily, on="ds", how="left").fill_null(0).sort("ds")


def good_median_worst(scored: pl.DataFrame) -> pl.DataFrame:
    """Three series (KEYS, wape, place), best first, of those that sold on half of the steps.

    The good one is better than nine of ten. All series when none sold so often.
    """
    error = (pl.col("y") - pl.col("y_hat")).abs().sum()
    series = scored.group_by(KEYS).agg(
        wape=error / pl.col("y").sum(), often=(pl.col("y") > 0).mean() >= 0.5
    )
    ranked = series.filter(pl.col("often") | ~pl.col("often").any()).sort("wape", *KEYS)
    at = [(ranked.height - 1) // 10, (ranked.height - 1) // 2, ranked.height - 1]
    return ranked[at].with_columns(place=pl.Series(["good", "median", "worst"]))


def forecast_plot(scored: pl.DataFrame, sales: pl.DataFrame, steps: Steps) -> Figure:
    """Forecasts against actuals of one cutoff: the total, and a good, the median and the worst
    series.

    `scored` has (store_id, item_id, cutoff, ds, y, y_hat, q…), `sales` the days before.
    """
    scored = scored.filter(pl.col("y").is_not_null())
    cutoff: date = scored["cutoff"][0]
    past = sales.join(scored.select(KEYS).unique(), on=KEYS, how="semi")
    # On a slide the picture is little more than half of its width: what it says is large.
    figure = Figure(figsize=(9, 7), dpi=130, layout="constrained")
    axes = figure.subplots(2, 2, sharex=True).flat
    total = scored.group_by("ds").agg(pl.col("y", "y_hat").sum()).sort("ds")
    _panel(axes[0], _before(cutoff, past, steps), total, "All series")
    for axis, one in zip(axes[1:], good_median_worst(scored).iter_slices(1), strict=True):
        store, item, wape, _, place = one.row(0)
        which = f"A {place}" if place == "good" else f"The {place}"
        name = shorten(f"store {store}, {item}", 42, placeholder=" …")
        _panel(
            axis,
            _before(cutoff, past.join(one, on=KEYS, how="semi"), steps),
            scored.join(one, on=KEYS, how="semi").sort("ds"),
            f"{which} series, errors {100 * wape:.0f} % of units sold:\n{name}",
        )
    unseen = f"{scored['ds'].n_unique()} steps after {cutoff} (dotted)"
    figure.suptitle(f"Units; {unseen} that the model had not seen", fontsize=15)
    figure.legend(
        *axes[1].get_legend_handles_labels(),
        frameon=False,
        fontsize=13,
        ncols=4,
        loc="outside lower center",
    )
    return figure


def lead_plot(errors: pl.DataFrame, unit: str) -> Figure:
    """Error by lead week of each level: (level, lead_week, error)."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    levels = errors["level"].unique(maintain_order=True)
    for (colour, marker), level in zip(STYLES, levels, strict=False):
        one = errors.filter(pl.col("level") == level).sort("lead_week")
        axes.plot(one["lead_week"], one["error"], color=colour, marker=marker, label=level)
    axes.set_xticks(sorted(errors["lead_week"].unique().to_list()))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("weeks ahead")
    axes.set_ylabel(unit)
    axes.legend(frameon=False, title="level", loc="center left", bbox_to_anchor=(1, 0.5))
    _bare(axes)
    return figure


def reliability_plot(pit: pl.DataFrame, levels: Sequence[float]) -> Figure:
    """How many more actuals fall below each quantile than it says, by volume tier: (u, tier).

    `u` is the randomised probability integral transform: with counts, whole units can't fall below
    a quantile in just the share that it says.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle="--", label="as it says")
    tiers = sorted(pit["tier"].unique().to_list())
    for (colour, marker), tier in zip(STYLES, tiers, strict=False):
        u = pit.filter(pl.col("tier") == tier)["u"].to_numpy()
        more = [100 * ((u <= level).mean() - level) for level in levels]
        end = {tiers[0]: ", least sold", tiers[-1]: ", most sold"}.get(tier, "")
        axes.plot(levels, more, color=colour, marker=marker, label=f"fifth {tier}{end}")
    widest = max(5.0, *np.abs(axes.get_ylim()))
    axes.set_ylim(-widest, widest)
    axes.set_xticks(levels, [f"{100 * level:g}" for level in levels])
    axes.set_xlabel("quantile of the forecast, %")
    axes.set_ylabel("actuals below it, over what it says,\npercentage points")
    axes.legend(frameon=False, title="series by volume", loc="center left", bbox_to_anchor=(1, 0.5))
    _bare(axes)
    return figure


def effects_plot(booster: lgb.Booster, x: Rows) -> Figure:
    """SHAP values of the inputs that matter most, a dot per row (n, INPUTS) of a sample of rows.

    The booster gives them on the logarithm of units (Lundberg et al., Nature Machine Intelligence
    2, 2020), so that each is a factor on the forecast.
    """
    rng = np.random.default_rng(0)
    rows = rng.choice(len(x), min(DOTS, len(x)), replace=False)
    values = x[rows]
    factors = np.exp(np.asarray(booster.predict(values, pred_contrib=True))[:, : len(INPUTS)])
    shown = np.argsort(-np.abs(np.log(factors)).mean(axis=0))[:SHOWN]
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for place, column in enumerate(shown[::-1]):
        own = values[:, column]
        rank = np.argsort(np.argsort(own)) / max(len(own) - 1, 1)
        coloured = INPUTS[column] != "item"
        dots = axes.scatter(
            factors[:, column],
            place + rng.uniform(-0.3, 0.3, len(rows)),
            s=6,
            c=rank if coloured else GREY,
            cmap="cividis" if coloured else None,
            linewidth=0,
        )
        if coloured:
            scale = dots
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda factor, _: f"×{factor:g}"))
    axes.set_yticks(range(len(shown)), [INPUTS[column] for column in shown[::-1]])
    axes.set_xlabel("factor on the forecast")
    bar = figure.colorbar(scale, ax=axes, ticks=[0, 1], shrink=0.6)
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("value of the input, by rank")
    _bare(axes)
    return figure


def ratio_plot(curves: Sequence[tuple[pl.DataFrame, str]], unit: str) -> Figure:
    """Ratios of losses side by side, each curve (x, ratio, low, high) with what its x is.

    The ends of an interval may be null.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (curve, what) in zip(panels, curves, strict=True):
        axes.axhline(1, color=GREY, linewidth=0.8, linestyle="--")
        axes.plot(curve["x"], curve["ratio"], color=BLUE, marker="o")
        ends = curve.drop_nulls()
        axes.vlines(ends["x"], ends["low"], ends["high"], color=BLUE, linewidth=1.2)
        axes.set_xticks(curve["x"].to_list())
        axes.set_xlabel(what)
        _bare(axes)
    panels[0].set_ylabel(unit)
    return figure
