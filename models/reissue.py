"""A past forecast made again from its snapshot, its model and its features, byte for byte."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import polars as pl

from data.schema import FORECAST, KEYS
from data.settings import Settings
from data.snapshots import read_snapshot
from feature_repo.store import StaleFeatures, newest_offline
from models.assembly import features_as_known
from models.baselines import PUBLISHED
from models.batch import batch_forecasts, digest
from models.beside import beside
from models.cold_start import Known, analogue_features
from models.forecaster import Forecaster

MADE_FROM = ["model", "cutoff", "snapshot_id", "feature_service"]


@dataclass(frozen=True)
class Reissue:
    """SHA-256 of a forecast as it was issued and as it comes out now."""

    cutoff: date
    version: str
    snapshot_id: str
    rows: int
    then: str
    now: str

    @property
    def is_identical(self) -> bool:
        return self.then == self.now


def forecast_as_of(
    settings: Settings,
    model: Forecaster,
    cutoff: date,
    snapshot_id: str,
    asked: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """What a model forecasts from a past cutoff and its snapshot, columns FORECAST.

    All series that the snapshot has features of, and those of `asked` (store_id, item_id) that
    it did not learn, from their analogues and own days as the API answers them. Raises
    StaleFeatures when the feature store holds no rows of the cutoff, and FileNotFoundError when the
    snapshot is gone.
    """
    taken = read_snapshot(settings.snapshots_dir / snapshot_id)
    series = taken.series()
    features = features_as_known(settings, series, [cutoff])
    plan = taken.plan()
    made = model.forecast(features, plan, model.horizon)
    if asked is None or not (new := asked.join(features, on=KEYS, how="anti").unique()).height:
        return made
    known = newest_offline(settings, cutoff)
    if known is None:
        raise StaleFeatures(
            f"The feature store holds no rows of {cutoff}, from which new series borrow; restore "
            "the features of that day to issue its forecasts again."
        )
    known = known.with_columns(pl.col("cutoff").str.to_date())
    days = settings.series_active_days
    own = beside(taken.sales().lazy(), series, active_days=days, steps=settings.steps).own
    lent = analogue_features(Known.of(known), new.rows(), own).drop("method")
    return pl.concat([made, model.cold_forecast(known, lent, plan, model.horizon)])


def reissue(settings: Settings, issued: pl.DataFrame, model: Forecaster | None = None) -> Reissue:
    """Forecasts again what the ledger says that `model`, or a baseline, issued at one time.

    `issued` are rows of the ledger that agree in MADE_FROM: all series or some, all steps or the
    first ones. Raises LookupError when the snapshot is gone, ValueError for another service.
    """
    ((version, cutoff, snapshot_id, service),) = issued.select(MADE_FROM).unique().rows()
    folder = settings.snapshots_dir / snapshot_id
    if not folder.exists():
        raise LookupError(
            f"The snapshot {snapshot_id} of the forecast of {cutoff} is not in "
            f"{settings.snapshots_dir}; restore it to issue the forecast again."
        )
    if model is None:
        made = _baselines(settings, folder).filter(pl.col("model") == version)
        again = pl.concat([issued.select(FORECAST).clear(), made], how="diagonal_relaxed")
    elif service == model.feature_service:
        again = forecast_as_of(settings, model, cutoff, snapshot_id, issued.select(KEYS))
    else:
        raise ValueError(
            f"The forecast of {cutoff} was issued with the feature service {service}, and model "
            f"{model.version} reads {model.feature_service}; name the version that issued it."
        )
    same = again.join(issued, on=[*KEYS, "ds"], how="semi")
    return Reissue(
        cutoff=cutoff,
        version=version,
        snapshot_id=snapshot_id,
        rows=issued.height,
        then=digest(issued.select(FORECAST)),
        now=digest(same),
    )


@lru_cache(maxsize=1)  # all baselines of a snapshot are made together and issued one by one
def _baselines(settings: Settings, folder: Path) -> pl.DataFrame:
    return batch_forecasts(settings, str(folder))


def is_baseline(version: str) -> bool:
    """Whether the ledger's `model` is a method beside the models, of which no version exists."""
    return version in PUBLISHED
