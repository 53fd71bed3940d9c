"""A small world to serve from: three series, one snapshot, and a model made of arithmetic."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from fastapi.testclient import TestClient

from data.schema import (
    DEMAND_FEATURES,
    FEATURE_SERVICE,
    FORECAST,
    KEYS,
    PLAN,
    QUANTILE_COLUMNS,
    QUANTILES,
    SALES,
    STORE_FEATURES,
    quantile_column,
)
from data.settings import Settings
from data.steps import Steps
from feature_repo.store import UnknownSeries
from models.dataset import target_days
from models.forecaster import HorizonTooLong
from models.metrics import LEVELS
from serving import deploy, rollout
from serving.routes.application import create_api
from serving.service import ForecastService
from tests.serving.faults import Make

NOW = datetime(2017, 9, 11, 12, tzinfo=UTC)
CUTOFF = date(2017, 9, 10)
SERIES = [("1", "GROCERY"), ("1", "MEAT"), ("2", "GROCERY")]
GROCERY = {"store_id": "1", "item_id": "GROCERY"}
OVERRIDE = {
    **GROCERY,
    "since": "2017-09-11",
    "until": "2017-09-12",
    "units": 20,
    "reason": "A street festival",
    "expires_at": "2017-09-20T00:00:00Z",
}


class ArithmeticModel:
    """Forecasts mean_7 plus what is on display, times the version; quantiles around it."""

    horizon, trained_cutoff, feature_service = 28, CUTOFF, FEATURE_SERVICE
    snapshot_id, quantiles, steps = "s1", QUANTILES, Steps()
    method, repeats = "arithmetic", False

    def __init__(self, folder: Path) -> None:
        self.version = folder.name
        if self.version.startswith("broken"):
            raise ValueError(f"{folder.name} does not have the SHA-256 that it was saved with.")

    def forecast(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        if horizon > self.horizon:
            raise HorizonTooLong(f"horizon is {horizon}, of {self.horizon}.")
        factor = float("nan") if self.version == "nan" else float(self.version.split("-")[0])
        return (
            target_days(features, horizon, self.steps)
            .join(features.select(*KEYS, "mean_7"), on=KEYS, maintain_order="left")
            .join(plan, on=[*KEYS, "ds"], how="left", maintain_order="left")
            .with_columns(y_hat=(pl.col("mean_7") + pl.col("display").fill_null(0)) * factor)
            .with_columns((pl.col("y_hat") * q * 2).alias(quantile_column(q)) for q in QUANTILES)
            .select(FORECAST)
        )

    def level_forecast(
        self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int, level: str
    ) -> pl.DataFrame:
        frame = self.forecast(features, plan, horizon)
        values = ["y_hat", *QUANTILE_COLUMNS]
        return frame.group_by(*LEVELS[level], "cutoff", "ds", maintain_order=True).agg(
            pl.col(values).sum()
        )

    def sum_quantiles(
        self,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
        *,
        first_step: int = 1,  # noqa: ARG002
    ) -> pl.DataFrame:
        """The sum is uniform between 0 and twice its mean."""
        sums = self.forecast(features, plan, lead_time).group_by(KEYS).agg(pl.col("y_hat").sum())
        return sums.with_columns(
            (pl.col("y_hat") * 2 * q).alias(quantile_column(q)) for q in service_levels
        )

    def cold_forecast(
        self, known: pl.DataFrame, features: pl.DataFrame, plan: pl.DataFrame, horizon: int
    ) -> pl.DataFrame:
        assert set(KEYS) < set(known.columns)
        return self.forecast(features, plan, horizon)

    def cold_sum_quantiles(
        self,
        known: pl.DataFrame,
        features: pl.DataFrame,
        plan: pl.DataFrame,
        lead_time: int,
        service_levels: Sequence[float],
    ) -> pl.DataFrame:
        """As a known series, of ten times the size."""
        rows = self.cold_forecast(known, features, plan, lead_time)
        sums = rows.group_by(KEYS).agg(pl.col("y_hat").sum() * 10)
        return sums.with_columns(
            (pl.col("y_hat") * 2 * q).alias(quantile_column(q)) for q in service_levels
        )

    def drivers(self, features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
        made = self.forecast(features, plan, horizon)
        mean = made.join(features.select(*KEYS, "mean_7"), on=KEYS, maintain_order="left")["mean_7"]
        return made.select(*KEYS, "cutoff", "ds", "step").with_columns(
            base=pl.lit(1.0),
            **{"mean_7 units": mean - 1, "display units": made["y_hat"] - mean},
        )


class OnlineRows:
    """The online store's rows, by series; `fails` is raised at every read when set."""

    def __init__(self) -> None:
        self.rows = {key: ("s1", str(CUTOFF), 10.0 * (i + 1)) for i, key in enumerate(SERIES)}
        self.fails: Exception | None = None

    def read(self, keys: Sequence[tuple[str, str]]) -> pl.DataFrame:
        if self.fails:
            raise self.fails
        rows = []
        for store_id, item_id in keys:
            if (store_id, item_id) not in self.rows:
                raise UnknownSeries(f"Series store_id={store_id!r}, item_id={item_id!r} is new.")
            snapshot_id, cutoff, mean_7 = self.rows[store_id, item_id]
            row = {"store_id": store_id, "item_id": item_id, "cutoff": cutoff}
            values = dict.fromkeys([*DEMAND_FEATURES, *STORE_FEATURES], mean_7)
            rows.append({**row, "snapshot_id": snapshot_id, **values})
        return pl.DataFrame(rows)


def write_snapshot(state: Path, snapshot_id: str, plan: list[tuple[str, str, date, float]]) -> None:
    """A snapshot's series and plan; a plan row is (store_id, item_id, ds, display)."""
    folder = state / "snapshots" / snapshot_id
    folder.mkdir(parents=True)
    pl.DataFrame(SERIES, schema=KEYS, orient="row").reverse().write_parquet(
        folder / "series.parquet"
    )
    known = datetime(2017, 9, 1, tzinfo=UTC)
    rows = [(s, i, ds, display, 0.0, known) for s, i, ds, display in plan]
    pl.DataFrame(rows, schema=PLAN, orient="row").write_parquet(folder / "plan.parquet")
    pl.DataFrame(schema=SALES).write_parquet(folder / "sales.parquet")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    planned = [
        ("1", "GROCERY", date(2017, 9, 10), 100.0),  # the cutoff's own day: not to be used
        ("1", "GROCERY", date(2017, 9, 12), 3.0),
        ("2", "GROCERY", date(2017, 9, 11), 5.0),
    ]
    write_snapshot(tmp_path, "s1", planned)
    return tmp_path


@pytest.fixture
def online() -> OnlineRows:
    return OnlineRows()


@pytest.fixture
def service(online: OnlineRows) -> ForecastService:
    """A service without a model, as it is before the first deployment."""
    return ForecastService(load=ArithmeticModel, reader=lambda _settings: online.read)


@pytest.fixture
def configure(service: ForecastService, state: Path) -> Callable[[str | None], None]:
    """Sends a user_config to the service, as Ray Serve does."""

    def send(version: str | None) -> None:
        champion = None if version is None else str(state / "champions" / version)
        service.configure({"state_dir": str(state), "version": version, "champion": champion})

    return send


@pytest.fixture
def bare_client(service: ForecastService) -> TestClient:
    """A client of the API with no model configured."""
    return TestClient(
        create_api(service, clock=lambda: NOW),
        base_url="http://127.0.0.1",
        raise_server_exceptions=False,
    )


@pytest.fixture
def client(bare_client: TestClient, configure: Callable[[str | None], None]) -> TestClient:
    """A client of the API that serves version 1."""
    configure("1")
    return bare_client


@pytest.fixture
def load(service: ForecastService) -> Callable[..., Any]:
    """Makes a model of arithmetic, with a fault if one is given."""

    def make(version: str, fault: Make = None) -> Any:
        model: Any = service._load(Path(version))
        if fault:
            model.forecast = partial(fault, model.forecast)
        return model

    return make


@pytest.fixture
def desk(state: Path, online: Any) -> rollout.Desk:
    settings = Settings(state_dir=state, _env_file=None)
    return rollout.Desk(settings, reader=lambda _settings: online.read)


@pytest.fixture
def live(
    service: ForecastService, state: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """A running API whose configuration is exchanged as Ray Serve would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_api(service), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    settings = Settings(state_dir=state, serve_port=port, _env_file=None)
    for version in ("1", "1.1-next", "2", "3", "broken", "nan"):
        (settings.champions_dir / version).mkdir(parents=True)
    monkeypatch.setattr(
        deploy,
        "put",
        lambda _settings, config: service.configure(
            config["applications"][0]["deployments"][0]["user_config"]
        ),
    )
    while not server.started:
        time.sleep(0.01)
    yield settings
    server.should_exit = True
    thread.join()
