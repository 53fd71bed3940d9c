"""Evidence for or against a challenger, measured on days that neither model has seen."""

from datetime import timedelta
from typing import TypedDict

import polars as pl

from data.schema import KEYS
from data.settings import Settings
from models import registry
from models.backtest import TrainingData
from models.comparison import compare
from models.dataset import history
from models.forecaster import Forecaster
from models.metrics import level_scales
from models.training import Training

DRAWS = 2000


class Evidence(TypedDict):
    """Arguments of the promotion gate."""

    ratio: float | None
    ratio_upper: float | None
    coverage_80: float | None
    bias: float | None
    naive_ratio: float | None
    has_champion: bool


def evidence(settings: Settings, training: Training, data: TrainingData) -> Evidence:
    """Measures what the promotion gate asks for, against the champion of the registry."""
    serves = registry.version_of(settings, registry.CHAMPION) is not None
    champion = registry.load(settings) if serves else None
    return evidence_against(champion, training, data, seed=settings.seed)


def evidence_against(
    champion: Forecaster | None, training: Training, data: TrainingData, *, seed: int
) -> Evidence:
    """Measures what the promotion gate asks for.

    Challenger and champion forecast the same rows of the holdout fold; the challenger there is the
    same configuration fitted before those days. A champion that was trained after the fold began
    has seen some of them: then there is no ratio.
    """
    figures = training.manifest.backtest
    found: Evidence = {
        "ratio": None,
        "ratio_upper": None,
        "coverage_80": figures["coverage 80 inside"],
        "bias": figures["bias"],
        "naive_ratio": figures["naive ratio"],
        "has_champion": champion is not None,
    }
    origin = data.cutoff - timedelta(days=data.horizon)
    if champion is None or champion.trained_cutoff > origin:
        return found
    features = data.features.filter(pl.col("cutoff") == origin)
    forecasts = champion.forecast(features, data.plan, data.horizon)
    series = data.features.select(KEYS).unique()
    scales = level_scales(history(data.sales, series, origin, data.spec.closed_days))["series"]
    result = compare(training.holdout, forecasts, scales, draws=DRAWS, seed=seed)
    return {**found, "ratio": result.ratio, "ratio_upper": result.ratio_upper}
