"""Evidence for or against a challenger, measured on days that neither model has seen."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TypedDict

import polars as pl

from data.settings import Settings
from models import registry
from models.backtest import Fold, TrainingData
from models.comparison import ON, compare, paired_losses, scales_of, with_slices
from models.forecaster import Forecaster
from models.metrics import COVERAGE, bias
from models.training import Training

LEAST_ORIGINS = 4
LEAST_DAYS = 4  # an origin with fewer days to judge says little of a horizon


class Evidence(TypedDict):
    """Arguments of the promotion gate; None is what could not be measured.

    `origins` were forecast from, of which the champion's configuration was fitted again at
    `refitted_origins`. `slices` maps each slice to its loss ratio and the ratio's lower bound.
    `champion_bias` is on the same rows as `paired_bias`, `moved` by which share the forecasts of
    the same days differ from the champion's. `champion_repeats` says that the champion has learnt
    nothing and repeats the last week, `champion_refused` why it can't be loaded by today's code.
    """

    ratio: float | None
    ratio_upper: float | None
    origins: int
    refitted_origins: int
    slices: Mapping[str, tuple[float, float]]
    paired_bias: float | None
    champion_bias: float | None
    moved: float | None
    coverage_80: float | None
    bias: float | None
    naive_ratio: float | None
    has_champion: bool
    champion_repeats: bool
    champion_refused: str


def evidence(settings: Settings, training: Training, data: TrainingData) -> Evidence:
    """Measures what the promotion gate asks for, against the champion of the registry."""
    champion, refused = registry.opponent(settings)
    parameters = None if champion is None else registry.parameters_of(settings, champion.version)
    found = evidence_against(champion, training, data, seed=settings.seed, parameters=parameters)
    return {**found, "champion_refused": refused}


def evidence_against(
    champion: Forecaster | None,
    training: Training,
    data: TrainingData,
    *,
    seed: int,
    parameters: Mapping[str, object] | None = None,
) -> Evidence:
    """Measures what the promotion gate asks for.

    From several origins within the newest horizon, of which the search has seen nothing, both
    forecast the days up to the cutoff: the challenger's configuration fitted at each origin, the
    champion as it serves. A champion that was trained after an origin has seen its days: then its
    configuration (`parameters`) is fitted there too; without them the origin is left out. One that
    learns nothing has seen no day.
    """
    figures = training.manifest.backtest
    found: Evidence = {
        "ratio": None,
        "ratio_upper": None,
        "origins": 0,
        "refitted_origins": 0,
        "slices": {},
        "paired_bias": None,
        "champion_bias": None,
        "moved": None,
        "coverage_80": figures[COVERAGE],
        "bias": figures["bias"],
        "naive_ratio": figures["naive ratio"],
        "has_champion": champion is not None,
        "champion_repeats": champion is not None and champion.repeats,
        "champion_refused": "",
    }
    if champion is None:
        return found
    origins = promotion_origins(data)
    if parameters is None:
        origins = [o for o in origins if not champion.has_seen(o)]
    if len(origins) < LEAST_ORIGINS:
        return found
    folds = [data.fold(origin) for origin in origins]
    challenger = pl.concat(_challenger(fold, training, seed) for fold in folds)
    opponent = pl.concat(_champion(fold, champion, data, parameters, seed) for fold in folds)
    losses = paired_losses(
        challenger, opponent, pl.concat(scales_of(f.grid, f.scales["series"]) for f in folds)
    )
    result = compare(with_slices(losses, data.plan), seed=seed)
    both = challenger.join(opponent.select(*ON, champion_y_hat="y_hat"), on=ON)
    return {
        **found,
        "ratio": result.ratio,
        "ratio_upper": result.ratio_upper,
        "origins": result.origins,
        "refitted_origins": sum(champion.has_seen(o) for o in origins),
        "slices": {f"{s} {v}": (ratio, low) for s, v, ratio, low in result.slices.iter_rows()},
        "paired_bias": bias(both),
        "champion_bias": bias(both.with_columns(y_hat="champion_y_hat")),
        "moved": _moved(both),
    }


def promotion_origins(data: TrainingData) -> list[date]:
    """Cutoffs of the newest horizon that a training has features of, oldest first."""
    first = data.spec.steps.after(data.cutoff, -data.horizon)
    last = data.cutoff - timedelta(days=LEAST_DAYS)
    cutoffs: list[date] = data.features["cutoff"].unique().sort().to_list()
    return [c for c in cutoffs if first <= c <= last]


def _challenger(fold: Fold, training: Training, seed: int) -> pl.DataFrame:
    return fold.forecast(training.parameters, seed).select(*ON, "y", "y_hat")


def _champion(
    fold: Fold,
    champion: Forecaster,
    data: TrainingData,
    parameters: Mapping[str, object] | None,
    seed: int,
) -> pl.DataFrame:
    if not champion.has_seen(fold.cutoff):
        features = data.features.filter(pl.col("cutoff") == fold.cutoff)
        return champion.forecast(features, data.plan, data.horizon).select(*ON, "y_hat")
    assert parameters is not None
    return fold.forecast(parameters, seed).select(*ON, "y_hat")


def _moved(both: pl.DataFrame) -> float:
    moved = (pl.col("y_hat") - pl.col("champion_y_hat")).abs().sum()
    return float(both.select(moved / pl.col("champion_y_hat").sum()).item())
