"""Answers forecast requests with one model, which can be exchanged while it answers."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

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
from models.forecaster import Forecaster, NoChampion
from serving import forecasting, ordering, overrides
from serving.api.forecasts import ForecastRequest
from serving.api.planning import (
    Explanation,
    ExplanationRequest,
    OrderRequest,
    Orders,
    Override,
    OverrideRequest,
    Overrides,
    OverridesQuery,
)
from serving.api.series import Series, SeriesPage, SeriesQuery
from serving.api.system import (
    Health,
    LoadError,
    ModelInfo,
    ModelMetadata,
    ModelReady,
    Status,
    TensorMetadata,
)
from serving.explanations import Explainer
from serving.metrics import State
from serving.problems import UnknownModel
from serving.published import Published
from serving.replicas import Replicas, Served
from serving.snapshots import decode_cursor, encode_cursor
from serving.source import Model, Read, ReadFeatures, Source, feast_reader

logger = logging.getLogger("ray.serve.shelfcast")

MODEL_NAME = "demand"


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
        self._settings = Settings()
        self._explainer, self._replicas = Explainer(load), Replicas()

    def configure(self, config: Mapping[str, Any]) -> None:
        """Serves the model of `config` {"state_dir", "version", "champion": folder or null}.

        The new model is loaded and tried before it takes the place of the old one. Never raises:
        when the new one fails, the old one serves on and `info` tells why, since Ray Serve answers
        an exception here by stopping the healthy replica.
        """
        version = config.get("version")
        try:
            self._replicas.folder = Settings(state_dir=config["state_dir"]).replicas_dir
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
        served = Served(version=self._model and self._model.version, load_error=self._load_error)
        self._replicas.note(served)

    @property
    def settings(self) -> Settings:
        """Those of the state that is served; of the environment before the first configuration."""
        return self._source.settings if self._source else self._settings

    def state(self) -> State:
        """The state now, for metrics."""
        model, source = self._model, self._source
        version = model.version if model else None
        if source is None:
            return State(version)
        return State(version, source.failure is not None, source.spool.lost)

    def info(self) -> ModelInfo:
        """The model that answers now; `versions` and `load_error` tell of all replicas."""
        m, living = self._model, self._replicas.living()
        versions = sorted((served.version for served in living), key=str)
        errors = [self._load_error, *(served.load_error for served in living)]
        error = next(filter(None, errors), None)
        if m is None:
            return ModelInfo(versions=versions, load_error=error)
        return ModelInfo(
            version=m.version,
            method=m.method,
            trained_cutoff=m.trained_cutoff,
            horizon=m.horizon,
            quantiles=list(m.quantiles),
            feature_service=m.feature_service,
            snapshot_id=m.snapshot_id,
            versions=versions,
            load_error=error,
        )

    def status(self, now: datetime) -> Status:
        """How fresh model and data are at `now`; what is not there yet is null."""
        m, source = self._model, self._source
        degraded = source.failure if source else None
        facts = publication.about(self.settings.published_dir) or {}
        return Status(
            model_version=m.version if m else None,
            method=m.method if m else None,
            trained_cutoff=m.trained_cutoff if m else None,
            snapshot_id=facts.get("snapshot_id"),
            cutoff=facts.get("cutoff"),
            late_days=_late_days(self.settings, facts.get("cutoff"), now),
            published_at=facts.get("published_at"),
            degraded=degraded is not None,
            degraded_reason=degraded,
            currency=self.settings.currency,
            prefect_url=self.settings.prefect_ui_url,
            mlflow_url=self.settings.mlflow_url,
            **self._replayed(),
        )

    def _replayed(self) -> dict[str, str | None]:
        """Where the last replay is shown and what it recommends (checks.replay_report)."""
        found = self.settings.state_dir.glob("replay/*/results.json")
        changed, last = max(((path.stat().st_mtime_ns, path) for path in found), default=(0, None))
        if last is None:
            return {"replay_url": None, "replay_result": None}
        url = f"{self.settings.prefect_ui_url}/artifacts/key/replay"
        return {"replay_url": url, "replay_result": _recommended(last, changed)}

    def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """What the served model takes and gives. Raises UnknownModel, NoChampion."""
        model, _ = self.champion()
        if name != MODEL_NAME or version not in (None, model.version):
            raise UnknownModel(
                f"Model {name!a}, version {version!a}, is not served; "
                f"it is {MODEL_NAME!r}, version {model.version!r}."
            )
        shape = [-1, model.horizon]
        names = ["y_hat", *(quantile_column(q) for q in model.quantiles)]
        keys = [TensorMetadata(name=k, datatype="BYTES", shape=[-1]) for k in KEYS]
        values = [TensorMetadata(name=n, datatype="FP64", shape=shape) for n in names]
        return ModelMetadata(
            name=MODEL_NAME,
            versions=[model.version],
            platform=model.method,
            inputs=keys,
            outputs=values,
        )

    def explain(self, request: ExplanationRequest) -> Explanation:
        """Drivers of a forecast and why it changed (serving.explanations)."""
        return self._explainer.explain(*self.champion(), request)

    def orders(self, request: OrderRequest) -> Orders:
        """What to order (serving.ordering)."""
        return ordering.orders(*self.champion(), request)

    def override(self, request: OverrideRequest, author: str, now: datetime) -> Override:
        """Takes an override down (serving.overrides)."""
        return overrides.take(*self.champion(), request, author, now)

    def overrides(self, query: OverridesQuery, now: datetime) -> Overrides:
        """Overrides, newest first."""
        return overrides.listed(self.champion()[1], query, now)

    def ready(self) -> Health:
        """Whether forecasts can be made: raises NoChampion or StaleFeatures when not."""
        model, source = self.champion()
        snapshot_id, degraded = source.online_snapshot(model)
        return Health(
            status="ready",
            model_version=model.version,
            snapshot_id=snapshot_id,
            degraded=degraded is not None,
        )

    def model_ready(self, name: str, version: str | None) -> ModelReady:
        """Whether a model answers: raises UnknownModel, NoChampion or StaleFeatures when not."""
        found = self.metadata(name, version)
        self.ready()
        return ModelReady(name=found.name, ready=True)

    def published(self) -> Published:
        """What flows published. Raises NoChampion before the first configuration."""
        if self._source is None:
            raise NoChampion("The service is not configured yet; run the deploy deployment.")
        return self._source.published

    def series(self, query: SeriesQuery) -> SeriesPage:
        """A page of the series that can be forecast. Raises ValueError for a bad cursor."""
        after = decode_cursor(query.cursor) if query.cursor else None
        model, source = self.champion()
        snapshot_id, _ = source.online_snapshot(model)
        keys, count, more = source.snapshots.page(
            snapshot_id,
            query.store_id,
            search=query.search,
            after=after,
            limit=query.limit,
        )
        others = set(source.snapshots.others(snapshot_id))
        return SeriesPage(
            snapshot_id=snapshot_id,
            count=count,
            series=[Series.model_construct(store_id=s, item_id=i) for s, i in keys],
            cold=[
                Series.model_construct(store_id=s, item_id=i) for s, i in keys if (s, i) in others
            ],
            next_cursor=encode_cursor(keys[-1]) if more and keys else None,
        )

    def record(self, kind: str, record: Mapping[str, object]) -> None:
        """Hands a record to the ledger; without a state folder there is none. Never raises."""
        if self._source is not None:
            self._source.spool.append(kind, record)

    def forecast(
        self, request: ForecastRequest, now: datetime, request_id: str | None = None
    ) -> dict[str, Any]:
        """The answer to a request in the shape of ForecastResponse (serving.forecasting.answer).

        Raises NoChampion and what `answer` raises.
        """
        # Once: every forecast of an answer is of one version.
        return forecasting.answer(*self.champion(), request, now, request_id)

    def _open(self, state_dir: str) -> Source:
        if self._source and str(self._source.settings.state_dir) == state_dir:
            return self._source
        return Source.of(state_dir, self._reader)

    def champion(self) -> tuple[Model, Source]:
        """The model that answers now and its source. Raises NoChampion."""
        if self._model is not None and self._source is not None:
            return self._model, self._source
        if self._load_error:
            raise NoChampion(
                f"No model is served: version {self._load_error.version} did not load "
                f"({self._load_error.error.rstrip('.')}). Run the train deployment, then deploy."
            )
        raise NoChampion("No model is served yet; run the train deployment, then deploy.")


def _late_days(settings: Settings, cutoff: str | None, now: datetime) -> int | None:
    """Days since the sales after `cutoff` were due; None where the data plays the calendar.

    Sales of a step are due on the day after it, all of which ingest has to bring them.
    """
    if settings.mode == "replay" or cutoff is None:
        return None
    due = settings.steps.after(date.fromisoformat(cutoff), 1) + timedelta(days=1)
    return max((now.astimezone(ZoneInfo(settings.timezone)).date() - due).days, 0)


@lru_cache(maxsize=1)
def _recommended(results: Path, _changed: int) -> str:
    """The sentence of a replay's results, read once per change of the file."""
    return str(json.loads(results.read_text())["sentence"])


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
    frame = forecasting.frame(model, Read(features), plan, "series", model.horizon)
    if frame.height != model.horizon:
        raise ValueError(
            f"Model {version} forecast {frame.height} days instead of {model.horizon}."
        )
