"""Answers forecast requests with one model, which can be exchanged while it answers."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from data import publication
from data.schema import (
    DEMAND_FEATURES,
    FEATURE_SERVICE,
    KEYS,
    PLAN,
    STORE_FEATURES,
    quantile_column,
)
from data.settings import Settings
from feature_repo.store import StaleFeatures, UnknownSeries, online_features, open_store
from models.forecaster import Forecaster, NoChampion
from serving.api.forecasts import ForecastRequest
from serving.api.series import Series, SeriesPage, SeriesQuery
from serving.api.system import Health, LoadError, ModelInfo, Status
from serving.problems import UnknownLevel
from serving.published import Published
from serving.snapshots import Key, Snapshots, decode_cursor, encode_cursor
from serving.spool import Spool

logger = logging.getLogger("ray.serve.shelfcast")

ReadFeatures = Callable[[Sequence[Key]], pl.DataFrame]


class Model(Protocol):
    """What serving needs of a forecaster (models.forecaster.Forecaster)."""

    @property
    def version(self) -> str: ...
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


@dataclass(frozen=True)
class Source:
    """Where features, series and plans come from, and answers are kept: one state folder."""

    state_dir: str
    settings: Settings
    read: ReadFeatures
    snapshots: Snapshots
    published: Published
    spool: Spool


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


class ForecastService:
    """One served model with the features and snapshots that it forecasts from."""

    def __init__(
        self,
        *,
        load: Callable[[Path], Model] = Forecaster.load,
        reader: Callable[[Settings], ReadFeatures] = feast_reader,
    ) -> None:
        self._load, self._reader = load, reader
        self._model: Model | None = None
        self._load_error: LoadError | None = None
        self._source: Source | None = None

    def configure(self, config: Mapping[str, Any]) -> None:
        """Serves the model of `config` {"state_dir", "version", "champion": folder or null}.

        The new model is loaded and tried before it takes the place of the old one. Never raises:
        when the new one fails, the old one serves on and `info` tells why, since Ray Serve answers
        an exception here by stopping the healthy replica.
        """
        version = config.get("version")
        try:
            source = self._open(config["state_dir"])
            model = None if version is None else self._load(Path(str(config["champion"])))
            if model is not None:
                _try_out(model, str(version))
        except Exception as error:
            logger.exception("Model version %s did not load", version)
            # Clients are told the error, but not where on this machine the files are.
            said = f"{type(error).__name__}: {error}".replace(f"{config.get('state_dir')}/", "")
            self._load_error = LoadError(version=version and str(version), error=said[:1000])
        else:
            self._source, self._model, self._load_error = source, model, None

    def info(self) -> ModelInfo:
        """The model that answers now."""
        m, error = self._model, self._load_error
        if m is None:
            return ModelInfo(load_error=error)
        return ModelInfo(
            version=m.version,
            trained_cutoff=m.trained_cutoff,
            horizon=m.horizon,
            quantiles=list(m.quantiles),
            feature_service=m.feature_service,
            snapshot_id=m.snapshot_id,
            load_error=error,
        )

    def status(self) -> Status:
        """How fresh model and data are; what is not there yet is null."""
        m, source = self._model, self._source
        settings = source.settings if source else Settings()
        facts = publication.about(settings.published_dir) or {}
        return Status(
            model_version=m.version if m else None,
            trained_cutoff=m.trained_cutoff if m else None,
            snapshot_id=facts.get("snapshot_id"),
            cutoff=facts.get("cutoff"),
            published_at=facts.get("published_at"),
            degraded=False,
            prefect_url=settings.prefect_ui_url,
            mlflow_url=settings.mlflow_url,
        )

    def ready(self) -> Health:
        """Whether forecasts can be made: raises NoChampion or StaleFeatures when not."""
        model, source = self._champion()
        snapshot_id = _online_snapshot(model, source)
        return Health(status="ready", model_version=model.version, snapshot_id=snapshot_id)

    def published(self) -> Published:
        """What flows published. Raises NoChampion before the first configuration."""
        if self._source is None:
            raise NoChampion("The service is not configured yet; run the deploy deployment.")
        return self._source.published

    def series(self, query: SeriesQuery) -> SeriesPage:
        """A page of the series that can be forecast. Raises ValueError for a bad cursor."""
        after = decode_cursor(query.cursor) if query.cursor else None
        model, source = self._champion()
        snapshot_id = _online_snapshot(model, source)
        keys, count, more = source.snapshots.page(
            snapshot_id, query.store_id, search=query.search, after=after, limit=query.limit
        )
        return SeriesPage(
            snapshot_id=snapshot_id,
            count=count,
            series=[Series.model_construct(store_id=s, item_id=i) for s, i in keys],
            next_cursor=encode_cursor(keys[-1]) if more and keys else None,
        )

    def record(self, kind: str, record: Mapping[str, object]) -> None:
        """Hands a record to the ledger; without a state folder there is none. Never raises."""
        if self._source is not None:
            self._source.spool.append(kind, record)

    def forecast(
        self, request: ForecastRequest, now: datetime, request_id: str | None = None
    ) -> dict[str, Any]:
        """The answer to a request in the shape of ForecastResponse, generated at `now` (UTC).

        The ledger keeps all of the model's quantiles, whichever are asked for.

        Raises NoChampion, UnknownLevel, HorizonTooLong, UnknownSeries or StaleFeatures.
        """
        model, source = self._champion()  # once: every forecast of an answer is of one version
        for level in request.quantiles:
            if level not in model.quantiles:
                raise UnknownLevel(
                    f"{level:g} is not a quantile level of model {model.version}; "
                    f"it gives {', '.join(f'{q:g}' for q in model.quantiles)}."
                )
        # A model may reach less far than the longest horizon that the API takes.
        horizon = request.horizon if "horizon" in request.model_fields_set else model.horizon
        if request.level != "series" or request.what_if:
            raise UnknownLevel("Levels and what-ifs are not served yet; leave them out.")
        features = _read(source, [(s.store_id, s.item_id) for s in request.series or []])
        plan = source.snapshots.plan(features, horizon)
        frame = model.forecast(features, plan, horizon)
        newest = features.sort("cutoff").row(-1, named=True)
        _keep(source.spool, features, frame, model, {"at": str(now), "request_id": request_id})
        return {
            "model_version": model.version,
            "feature_service": model.feature_service,
            "snapshot_id": newest["snapshot_id"],
            "cutoff": newest["cutoff"],
            "degraded": False,
            "degraded_reason": None,
            "level": request.level,
            "generated_at": now,
            "warnings": [],
            "forecasts": _by_series(features, frame, request.quantiles, model.version),
        }

    def _open(self, state_dir: str) -> Source:
        if self._source and self._source.state_dir == state_dir:
            return self._source
        settings = Settings(state_dir=Path(state_dir))
        snapshots = Snapshots(settings.snapshots_dir)
        return Source(
            state_dir,
            settings,
            self._reader(settings),
            snapshots,
            Published(settings, snapshots),
            Spool(settings.spool_dir),
        )

    def _champion(self) -> tuple[Model, Source]:
        if self._model is not None and self._source is not None:
            return self._model, self._source
        if self._load_error:
            raise NoChampion(
                f"No model is served: version {self._load_error.version} did not load "
                f"({self._load_error.error.rstrip('.')}). Run the train deployment, then deploy."
            )
        raise NoChampion("No model is served yet; run the train deployment, then deploy.")


def _read(source: Source, keys: Sequence[Key]) -> pl.DataFrame:
    """Features of the keys, cutoff as a date. Raises StaleFeatures when no store answers."""
    try:
        features = source.read(keys)
    except (UnknownSeries, StaleFeatures):
        raise
    except Exception as error:
        logger.exception("The feature store does not answer")
        raise StaleFeatures(
            f"The feature store does not answer ({type(error).__name__}); try again, "
            "and run the materialize deployment if that does not help."
        ) from error
    return features.with_columns(pl.col("cutoff").str.to_date())


def _keep(
    spool: Spool,
    features: pl.DataFrame,
    frame: pl.DataFrame,
    model: Model,
    request: Mapping[str, object],
) -> None:
    """Hands an answer to the ledger, with the snapshot of each series."""
    rows = frame.join(features.select(*KEYS, "snapshot_id"), on=KEYS, maintain_order="left")
    spool.append(
        "forecasts",
        {
            **request,
            "model": model.version,
            "feature_service": model.feature_service,
            "what_if": False,
            "rows": rows,
        },
    )


def _online_snapshot(model: Model, source: Source) -> str:
    """Snapshot that the online store holds, told by a series that the model was trained on."""
    known = source.snapshots.series(model.snapshot_id)[:1]
    try:
        return str(_read(source, known)["snapshot_id"][0])
    except UnknownSeries as error:
        raise StaleFeatures(
            "The online store holds no features of the model's series; "
            "run the materialize deployment."
        ) from error


def _by_series(
    features: pl.DataFrame, frame: pl.DataFrame, levels: Sequence[float], version: str
) -> list[dict[str, Any]]:
    """The forecasts as one entry per row of `features`, in its order."""
    columns = ["y_hat", *(quantile_column(q) for q in levels)]
    if (
        not frame.select(pl.all_horizontal(pl.col(columns).is_finite().fill_null(False)))
        .to_series()
        .all()
    ):
        raise ArithmeticError(f"Model {version} gave a forecast that is not a finite number.")
    names = [f"{q:g}" for q in levels]
    days: dict[Key, list[dict[str, Any]]] = {}
    for s, i, ds, y_hat, *values in frame.select(*KEYS, "ds", *columns).iter_rows():
        day = {"ds": ds, "y_hat": y_hat, "quantiles": dict(zip(names, values, strict=True))}
        days.setdefault((s, i), []).append(day)
    return [
        {"store_id": s, "item_id": i, "snapshot_id": snapshot, "cutoff": cutoff, "days": days[s, i]}
        for s, i, snapshot, cutoff in features.select(*KEYS, "snapshot_id", "cutoff").iter_rows()
    ]


def _try_out(model: Model, version: str) -> None:
    """One forecast of a made-up series. Raises ValueError when the model can not be served."""
    if model.version != version:
        raise ValueError(f"The folder holds model version {model.version}, not {version}.")
    if model.feature_service != FEATURE_SERVICE:
        raise ValueError(
            f"Model {version} reads feature service {model.feature_service}, "
            f"this server {FEATURE_SERVICE}; train a new version."
        )
    row = {"store_id": "-", "item_id": "-", "cutoff": model.trained_cutoff}
    values = dict.fromkeys([*DEMAND_FEATURES, *STORE_FEATURES], 1.0)
    features = pl.DataFrame([{**row, "snapshot_id": model.snapshot_id, **values}])
    plan = pl.DataFrame(schema={c: t for c, t in PLAN.items() if c != "known_at"})
    frame = model.forecast(features, plan, model.horizon)
    if frame.height != model.horizon:
        raise ValueError(
            f"Model {version} forecast {frame.height} days instead of {model.horizon}."
        )
    _by_series(features, frame, model.quantiles, version)
