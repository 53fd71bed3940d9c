"""Where a replica reads from: the online store, and when that fails the last good features."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from data.settings import Settings
from feature_repo.store import (
    StaleFeatures,
    UnknownSeries,
    newest_offline,
    online_features,
    open_store,
)
from models.cold_start import Known
from serving.published import Published
from serving.snapshots import Key, Snapshots
from serving.spool import Spool

logger = logging.getLogger("ray.serve.shelfcast")

RETRY_SECONDS = 5.0  # a store that failed is asked again after this time

ReadFeatures = Callable[[Sequence[Key]], pl.DataFrame]


class Model(Protocol):
    """What serving needs of a forecaster (models.forecaster.Forecaster)."""

    @property
    def version(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def repeats(self) -> bool: ...
    @property
    def horizon(self) -> int: ...
    @property
    def trained_cutoff(self) -> date: ...
    @property
    def feature_service(self) -> str: ...
    @property
    def snapshot_id(self) -> str: ...
    @property
    def quantiles(self) -> tuple[float, ...]: ...

    def forecast(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """Forecasts of each row of `features`, columns schema.FORECAST."""
        ...

    def level_forecast(
        self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int, level: str
    ) -> pl.DataFrame:
        """Forecasts of each node of a level: its keys, cutoff, ds, y_hat and quantiles."""
        ...

    def sum_quantiles(
        self,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
        *,
        first_step: int = 1,
    ) -> pl.DataFrame:
        """Mean and quantiles of the units of each series over first_step … lead_time."""
        ...

    def cold_forecast(
        self, known: pl.DataFrame, features: pl.DataFrame, plan: pl.DataFrame, horizon: int
    ) -> pl.DataFrame:
        """As `forecast`, for features that were borrowed from those of all series, `known`."""
        ...

    def cold_sum_quantiles(
        self,
        known: pl.DataFrame,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
    ) -> pl.DataFrame:
        """As `sum_quantiles`, for features that were borrowed from those of all series."""
        ...

    def drivers(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """Units that each input adds to each forecast (models.explain.drivers)."""
        ...


@dataclass(frozen=True)
class Read:
    """Features of some series, cutoff as a date; `degraded` says why they are not the newest.

    Some may be of series without a history: then `known` are the features of all series that have
    one, and `analogues` says of each new one what its own were borrowed from (serving.cold).
    """

    features: pl.DataFrame
    degraded: str | None = None
    known: pl.DataFrame | None = None
    analogues: Mapping[Key, str] = field(default_factory=dict)

    @property
    def snapshot_id(self) -> str:
        """The newest snapshot among them."""
        at = self.features["cutoff"].to_list().index(self.cutoff)
        return str(self.features["snapshot_id"][at])

    @property
    def cutoff(self) -> date:
        """The newest cutoff among them."""
        newest: date = max(self.features["cutoff"].to_list())
        return newest


def provenance(model: Model, read: Read) -> dict[str, Any]:
    """What every answer says of where it comes from (serving.api.series.Provenance)."""
    return {
        "model_version": model.version,
        "method": model.method,
        "feature_service": model.feature_service,
        "snapshot_id": read.snapshot_id,
        "cutoff": read.cutoff,
        "degraded": read.degraded is not None,
        "degraded_reason": read.degraded,
    }


@dataclass
class Source:
    """Where features, series and plans come from, and answers are kept: one state folder."""

    settings: Settings
    online: ReadFeatures
    snapshots: Snapshots
    published: Published
    spool: Spool
    _failed_until: float = field(default=0.0, repr=False)
    _failure: str = field(default="", repr=False)
    _newest: tuple[pl.DataFrame, Known] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, state_dir: str, reader: Callable[[Settings], ReadFeatures]) -> "Source":
        """The source of a state folder; nothing is read yet."""
        settings = Settings(state_dir=Path(state_dir))
        snapshots = Snapshots(settings)
        published = Published(settings, snapshots)
        return cls(settings, reader(settings), snapshots, published, Spool(settings.spool_dir))

    def read(self, keys: Sequence[Key]) -> Read:
        """Features of the keys, in their order.

        From the online store; while it does not answer, the newest rows of the offline store.
        Raises UnknownSeries, and StaleFeatures when neither has rows, or when a view or the service
        is no longer declared: nothing goes round the feature store.
        """
        if time.monotonic() >= self._failed_until:
            try:
                return Read(_dated(self.online(keys)))
            except (UnknownSeries, StaleFeatures):
                raise
            except Exception as error:
                self._fail(error)
        return Read(self._last_good(keys), self._failure)

    def newest(self) -> Known | None:
        """Features of all series at the newest cutoff, from the offline store; None without any.

        The same object until there are newer ones.
        """
        rows = newest_offline(self.settings)
        if rows is None:
            return None
        if self._newest is None or self._newest[0] is not rows:
            self._newest = (rows, Known.of(_dated(rows)))
        return self._newest[1]

    def online_snapshot(self, model: Model) -> tuple[str, str | None]:
        """The snapshot that forecasts are made from now, and why it is degraded, or None.

        Told by a series that the model was trained on. Raises StaleFeatures.
        """
        known = self.snapshots.series(model.snapshot_id)[:1]
        try:
            read = self.read(known)
        except UnknownSeries as error:
            raise StaleFeatures(
                "The online store holds no features of the model's series; "
                "run the materialize deployment."
            ) from error
        return read.snapshot_id, read.degraded

    @property
    def failure(self) -> str | None:
        """Why features are the last good ones now; None while the online store answers."""
        return self._failure if time.monotonic() < self._failed_until else None

    def _fail(self, error: Exception) -> None:
        logger.error("The feature store does not answer", exc_info=error)
        self._failed_until = time.monotonic() + RETRY_SECONDS
        self._failure = (
            f"The feature store does not answer ({type(error).__name__}); try again, "
            "and run the materialize deployment if that does not help."
        )

    def _last_good(self, keys: Sequence[Key]) -> pl.DataFrame:
        rows = newest_offline(self.settings)
        if rows is None:
            raise StaleFeatures(self._failure)
        asked = pl.DataFrame(keys, schema=["store_id", "item_id"], orient="row")
        found = asked.join(rows, on=["store_id", "item_id"], how="left", maintain_order="left")
        for store_id, item_id in (
            found.filter(pl.col("cutoff").is_null()).select("store_id", "item_id").iter_rows()
        ):
            raise UnknownSeries(
                f"Series store_id={store_id!r}, item_id={item_id!r} is not known; "
                "GET /v1/series lists those that are."
            )
        return _dated(found)


def _dated(features: pl.DataFrame) -> pl.DataFrame:
    # Without a query: of one series, all queries of an answer cost more than its booster.
    dates = pl.Series("cutoff", [date.fromisoformat(c) for c in features["cutoff"]])
    return features.clone().replace_column(features.get_column_index("cutoff"), dates)


def feast_reader(settings: Settings) -> ReadFeatures:
    """Reads the Feast online store, opened at the first read: a new stack has none yet."""
    lock = threading.Lock()
    opened: list[Any] = []

    def read(keys: Sequence[Key]) -> pl.DataFrame:
        with lock:
            if not opened:
                opened.append(open_store(settings))
        return online_features(opened[0], keys)

    return read
