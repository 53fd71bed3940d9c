"""A past forecast made again from its snapshot, its model and its features, byte for byte."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from data.schema import FORECAST, KEYS
from data.settings import Settings
from models.assembly import features_as_known, read_snapshot
from models.batch import digest
from models.forecaster import Forecaster


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
    settings: Settings, model: Forecaster, cutoff: date, snapshot_id: str
) -> pl.DataFrame:
    """What a model forecasts from a past cutoff and its snapshot, columns FORECAST.

    Raises LookupError when the snapshot is gone.
    """
    folder = settings.snapshots_dir / snapshot_id
    if not folder.exists():
        raise LookupError(
            f"The snapshot {snapshot_id} of the forecast of {cutoff} is not in "
            f"{settings.snapshots_dir}; restore it to issue the forecast again."
        )
    series = read_snapshot(folder)[3]
    features = features_as_known(settings, series, [cutoff])
    plan = pl.read_parquet(folder / "plan.parquet")
    return model.forecast(features, plan, model.horizon)


def reissue(settings: Settings, issued: pl.DataFrame, model: Forecaster) -> Reissue:
    """Forecasts again what the ledger says that `model` issued from one cutoff and snapshot.

    `issued` are rows of the ledger: FORECAST, snapshot_id and feature_service, all series or some.
    Raises LookupError when the snapshot is gone, ValueError for another feature service.
    """
    (cutoff,), (snapshot_id,), (service,) = (
        issued[name].unique().to_list() for name in ("cutoff", "snapshot_id", "feature_service")
    )
    if service != model.feature_service:
        raise ValueError(
            f"The forecast of {cutoff} was issued with the feature service {service}, and model "
            f"{model.version} reads {model.feature_service}; name the version that issued it."
        )
    again = forecast_as_of(settings, model, cutoff, snapshot_id)
    same = again.join(issued, on=[*KEYS, "ds"], how="semi")
    return Reissue(
        cutoff=cutoff,
        version=model.version,
        snapshot_id=snapshot_id,
        rows=issued.height,
        then=digest(issued.select(FORECAST)),
        now=digest(same),
    )
