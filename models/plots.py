"""Plots that are logged with a model."""

from datetime import date

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.schema import KEYS
from data.steps import Steps

BLUE, GREY = "#1f5fa8", "#444444"


def _panel(axes: Axes, past: pl.DataFrame, days: pl.DataFrame, title: str) -> None:
    axes.plot(past["ds"], past["y"], color=GREY, linewidth=0.8)
    axes.plot(days["ds"], days["y"], color=GREY, linewidth=0.8, label="sold")
    axes.plot(days["ds"], days["y_hat"], color=BLUE, linewidth=1.6, label="forecast")
    if "q0.1" in days.columns:
        axes.fill_between(
            days["ds"], days["q0.1"], days["q0.9"], color=BLUE, alpha=0.2, label="80 % interval"
        )
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylabel("units")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=30, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _before(cutoff: date, sales: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    """Units of each of the 56 steps up to the cutoff; one without a row sold nothing."""
    days = pl.DataFrame({"ds": steps.ahead(steps.after(cutoff, -56), 56)})
    daily = sales.group_by("ds").agg(pl.col("y").sum())
    return days.join(daily, on="ds", how="left").fill_null(0).sort("ds")


def forecast_plot(scored: pl.DataFrame, sales: pl.DataFrame, steps: Steps) -> Figure:
    """Forecasts against actuals of one cutoff: the total, and a big and a median series.

    `scored` has (store_id, item_id, cutoff, ds, y, y_hat, q0.1, q0.9), `sales` the days before.
    """
    cutoff: date = scored["cutoff"][0]
    volume = scored.group_by(KEYS).agg(pl.col("y").sum()).sort("y", *KEYS, descending=True)
    past = sales.join(volume, on=KEYS, how="semi")
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(3, 1)
    _panel(
        axes[0],
        _before(cutoff, past, steps),
        scored.group_by("ds").agg(pl.col("y", "y_hat").sum()).sort("ds"),
        "All series",
    )
    for axis, row in zip(axes[1:], (0, volume.height // 2), strict=True):
        one = volume[row]
        name = f"Store {one['store_id'][0]}, {one['item_id'][0]}"
        _panel(
            axis,
            _before(cutoff, past.join(one, on=KEYS, how="semi"), steps),
            scored.join(one, on=KEYS, how="semi").sort("ds"),
            name,
        )
    axes[1].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{scored['ds'].n_unique()} steps after {cutoff}, not seen by the model")
    return figure
