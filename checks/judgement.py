"""Judges the issues of a replay by the sales that followed; each is judged once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from checks.replay import Replay, issue, issued, snapshot_of, write_json
from checks.replay_decisions import DIGITS
from data.schema import KEYS
from data.snapshots import read_snapshot
from models.batch import digest
from models.comparison import compare, paired_losses, scales_of
from models.dataset import history
from models.metrics import LEAD_WEEK, level_scales, summary, wrmsse
from models.performance import with_actuals

GROUPS = 10
DRAWS = 2000
FIGURES = ("wrmsse mean", "bias", "coverage 80 inside", "pinball")


@dataclass(frozen=True)
class Band:
    """A figure with its 95 % band, by a delete-a-group jackknife over stores."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """The sales that judge, and the scales of the range: whole (first) and without each group."""

    sales: pl.DataFrame
    group: pl.DataFrame
    scales: list[dict[str, pl.DataFrame]]


@lru_cache(maxsize=1)
def sample_of(replay: Replay) -> Sample:
    """Sales as known on the last day; scales as of the first, the same for all weeks."""
    taken = read_snapshot(snapshot_of(replay, replay.days[-1]))
    series = taken.series()
    sales = taken.sales().join(series, on=KEYS, how="semi")
    by = ["store_id"] if series["store_id"].n_unique() >= 2 * GROUPS else KEYS
    parts = series.select(by).unique().sort(by).with_row_index("group")
    group = series.join(parts.with_columns(pl.col("group") % GROUPS), on=by)
    dense = history(sales, series, replay.since, replay.settings.steps)
    without = [dense.join(_group(group, g), on=KEYS, how="anti") for g in range(GROUPS)]
    season = replay.settings.steps.season
    return Sample(sales, group, [level_scales(frame, season=season) for frame in (dense, *without)])


def _group(group: pl.DataFrame, number: int) -> pl.DataFrame:
    return group.filter(pl.col("group") == number)


def losses(replay: Replay, cutoff: date, version: str) -> dict[str, Any]:
    """Figures of one issue: WRMSSE of the week ahead, whole and without each group of stores; for
    the whole horizon if it is over; and the forecast's digest. Computed once for each end: what is
    over and known by then differs."""
    path = replay.folder / "losses" / str(replay.end) / str(cutoff) / f"{version}.json"
    if not path.exists():
        write_json(path, _losses(replay, cutoff, version))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _losses(replay: Replay, cutoff: date, version: str) -> dict[str, Any]:
    sample, forecasts = sample_of(replay), issued(replay, cutoff, version)
    settings = replay.settings
    scored = with_actuals(forecasts, sample.sales, until=replay.days[-1], steps=settings.steps)
    ahead = scored.filter(LEAD_WEEK == 1)
    without = [ahead.join(_group(sample.group, g), on=KEYS, how="anti") for g in range(GROUPS)]
    week = [
        round(wrmsse(rows, scales)["mean"], DIGITS)
        for rows, scales in zip((ahead, *without), sample.scales, strict=True)
    ]
    is_over = settings.steps.after(cutoff, settings.horizon) <= replay.end
    whole = summary(scored, sample.scales[0]) if is_over else {}
    figures = {name: round(whole[name], DIGITS) for name in FIGURES if name in whole}
    return {"digest": digest(forecasts), "week": week, "figures": figures}


def jackknifed(values: Sequence[float]) -> Band:
    """Band of a figure from its value on all stores (first) and without each group of them.

    Delete-a-group jackknife (Kott, Journal of Official Statistics 17(4), 2001), Student's t.
    """
    from scipy.stats import t

    whole, parts = float(values[0]), np.asarray(values[1:])
    g = len(parts)
    spread = float(np.sqrt((g - 1) / g * ((parts - parts.mean()) ** 2).sum()))
    half = float(t.ppf(0.975, g - 1)) * spread
    return Band(whole, whole - half, whole + half)


def movement(before: pl.DataFrame, after: pl.DataFrame) -> float | None:
    """How far the forecasts for the same days moved between two issues, over their sum before.

    None when they have no day in common, as at a horizon of one step, or that sum is 0.
    """
    both = before.join(after.select(*KEYS, "ds", now="y_hat"), on=[*KEYS, "ds"])
    units = float(both["y_hat"].sum())
    return float((both["now"] - both["y_hat"]).abs().sum()) / units if units else None


@lru_cache(maxsize=4096)
def moved(replay: Replay, before: tuple[date, str], after: tuple[date, str]) -> float | None:
    """`movement` between two issues, each a cutoff and a version."""
    share = movement(issued(replay, *before), issued(replay, *after))
    return None if share is None else round(share, DIGITS)


@lru_cache(maxsize=256)
def paired(replay: Replay, cutoff: date, new: str, kept: str) -> dict[str, Any]:
    """A fit and the model that it replaced, both forecasting from its cutoff, on the days after.

    `ratio` is the new one's loss over the kept one's, `ratio_upper` its 95 % bound; the retrain was
    `false` if the new one is not better.
    """
    issue(replay, cutoff, {new})
    sample, settings, last = sample_of(replay), replay.settings, replay.days[-1]
    challenger, champion = (
        with_actuals(
            issued(replay, cutoff, version), sample.sales, until=last, steps=settings.steps
        )
        for version in (new, kept)
    )
    scales = scales_of(challenger, sample.scales[0]["series"])
    losses = paired_losses(challenger, champion, scales)
    found = compare(losses, draws=DRAWS, seed=settings.seed)
    return {
        "new": new,
        "kept": kept,
        "days": challenger["ds"].n_unique(),
        "ratio": round(found.ratio, DIGITS),
        "ratio_upper": round(found.ratio_upper, DIGITS),
        "false": found.ratio >= 1,
    }
