"""The flow `deploy` on Prefect, with a running API and MLflow's store: it takes back what fails."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from prefect.settings import PREFECT_SERVER_DATABASE_TIMEOUT, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from checks.rollout import Tried
from data.settings import Settings
from flows import deploy as flow
from models import registry
from serving import deploy, rollback, rollout
from serving.service import ForecastService

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
Change = Callable[[pl.DataFrame], pl.DataFrame]


def threefold(answer: pl.DataFrame) -> pl.DataFrame:
    """Nothing is malformed, but it is three times as much."""
    return answer.with_columns(pl.selectors.float() * 3)


def raises(_answer: pl.DataFrame) -> pl.DataFrame:
    raise RuntimeError("no such leaf")


def not_a_number(answer: pl.DataFrame) -> pl.DataFrame:
    return answer.with_columns(y_hat=pl.lit(float("nan")))


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    """A Prefect server of the test's own."""
    with (
        temporary_settings({PREFECT_SERVER_DATABASE_TIMEOUT: 60}),  # on a busy machine
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield


@pytest.fixture
def promoted(live: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Version 1 serves; 2 has just been promoted over it, in a store of MLflow on a file."""
    deploy.swap(live, "1")
    monkeypatch.setattr(Settings, "mlflow_url", f"sqlite:///{live.state_dir}/mlflow.db")
    monkeypatch.setattr(flow, "Settings", lambda: live)
    with registry.connected(live) as client:
        client.create_registered_model(registry.MODEL)
        for _ in range(2):
            client.create_model_version(registry.MODEL, str(live.state_dir))
    registry.promote(live, "1", at=NOW, why="the first")
    registry.promote(live, "2", at=NOW.replace(hour=10), why="better")

    def exported(settings: Settings, _version: str | None) -> SimpleNamespace:
        return SimpleNamespace(version=registry.version_of(settings, registry.CHAMPION))

    monkeypatch.setattr(registry, "export", exported)
    return live


def serve_as_2(service: ForecastService, change: Change) -> None:
    """Version 2 forecasts as version 1 does; its answers to real series are changed."""
    load = service._load

    def loaded(folder: Path) -> Any:
        model: Any = load(folder)
        if folder.name == "2":
            forecast = load(Path("1")).forecast

            def changed(features: pl.DataFrame, plan: pl.DataFrame, horizon: int) -> pl.DataFrame:
                answer = forecast(features, plan, horizon)
                return answer if features["store_id"][0] == "-" else change(answer)

            model.forecast = changed
        return model

    service._load = loaded


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (threefold, "forecasts are 3.00 times the champion's"),
        (raises, "the API answers 500"),
        (not_a_number, "the API answers 500"),
    ],
)
def test_a_version_that_fails_its_watch_is_taken_back_by_the_run_that_fails(
    promoted: Settings, service: ForecastService, change: Change, said: str
) -> None:
    serve_as_2(service, change)
    run = flow.deploy(return_state=True)
    assert run.is_failed()
    assert "Version 2 was rolled back to 1" in str(run.message) and said in str(run.message)

    assert service.info().version == "1" == deploy.current_version(promoted)
    assert registry.version_of(promoted, registry.CHAMPION) == "1"
    last = registry.alias_history(promoted)[-1]
    assert last.version == "1" and last.why.startswith("rolled back: ") and said in last.why
    with registry.connected(promoted) as client:
        assert said in client.get_model_version(registry.MODEL, "2").tags["rolled_back"]


@pytest.mark.usefixtures("prefect")
def test_a_version_that_passes_its_watch_serves_on(
    promoted: Settings, service: ForecastService
) -> None:
    serve_as_2(service, lambda answer: answer)
    assert flow.deploy(return_state=True).is_completed()
    assert service.info().version == "2" == registry.version_of(promoted, registry.CHAMPION)


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(("change", "ends"), [(None, 0), (threefold, 1)])
def test_a_rollback_during_a_watch_waits_and_acts_on_what_has_settled(
    promoted: Settings,
    service: ForecastService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Change | None,
    ends: int,
) -> None:
    serve_as_2(service, change or (lambda answer: answer))
    monkeypatch.setattr(rollback, "command_settings", lambda: promoted)
    watch, printed = rollout.watch, [""]

    with ThreadPoolExecutor(1) as pool:

        def watched(*given: Any) -> Tried:
            asked.append(pool.submit(rollback.main, "orders look odd"))
            while "Waiting for the deployment deploy" not in printed[0]:
                printed[0] += capsys.readouterr().out
                time.sleep(0.01)
            assert service.info().version == "2" and not asked[0].done()
            return watch(*given)

        asked: list[Future[int]] = []
        monkeypatch.setattr(flow.rollout, "watch", watched)
        assert flow.deploy(return_state=True).is_failed() == bool(change)
        assert asked[0].result(60) == ends
    assert service.info().version == "1" == registry.version_of(promoted, registry.CHAMPION)
    assert len(registry.alias_history(promoted)) == 3  # 1, 2, and once back
    said = "nothing to roll back to" if change else "version 1 serves"
    assert said in "".join(capsys.readouterr())
