"""One replayed day beside the same day of the deployments: drift is tested, a model trained."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_SERVER_DATABASE_TIMEOUT, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from checks import monitoring
from checks import replay as units
from checks.policies import policy
from checks.replay import Replay, day, issued, load, replay_of, snapshot_of
from checks.replay_decisions import decide, ledger_of, serving, walk
from data import ledger
from data.settings import Settings
from data.warehouse import connect, known_at_morning, query
from models import forecaster, gbm, registry, training
from models.baselines import PUBLISHED

SINCE = date(2017, 8, 20)
DAY = SINCE + timedelta(weeks=5)
GATED = policy("gated")
SERIES = 22 * 2 - 1


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def replay(
    tmp_path_factory: pytest.TempPathFactory,
    sales_since: Callable[[int, int, int], pl.DataFrame],
) -> Replay:
    """A retailer of 22 stores, one series less, whose prices rise two weeks before the day."""
    folder = tmp_path_factory.mktemp("retailer")
    dearer = pl.col("ds") > DAY - timedelta(days=14)
    sold = sales_since(275, 22, 2).with_columns(price=pl.when(dearer).then(3.5).otherwise(2.5))
    sold = sold.filter((pl.col("store_id") != "s21") | (pl.col("item_id") != "i1"))
    sold.write_csv(folder / "till.csv")
    settings = Settings(
        _env_file=None,
        state_dir=folder / "state",
        source="csv",
        source_path=str(folder / "till.csv"),
    )
    return replay_of(settings, SINCE, 6, [GATED])


@pytest.fixture(scope="module")
def production(replay: Replay, patch: pytest.MonkeyPatch, tmp_path_factory) -> Iterator[Settings]:
    """The state in which the deployments find the day: the replay's of the day before."""
    with pytest.MonkeyPatch.context() as earlier:  # contracts of the days before take half the time
        for audit in ("audit_sales", "audit_features"):
            passed = SimpleNamespace(require=lambda _subject: None)
            earlier.setattr(units, audit, lambda *_, passed=passed: passed)
        walk(replay, SINCE - timedelta(days=1), DAY - timedelta(days=1))
    state = tmp_path_factory.mktemp("production") / "state"
    shutil.copytree(replay.folder, state)
    settings = replay.settings.model_copy(update={"state_dir": state})
    walk(replay, DAY - timedelta(days=1), DAY)
    champion = serving(replay, GATED, DAY)
    with connect(settings) as con:
        for cutoff in (d for d in replay.days if d < DAY):
            for model in (serving(replay, GATED, cutoff), *PUBLISHED):
                rows = issued(replay, cutoff, model).with_columns(
                    snapshot_id=pl.lit(day(replay, cutoff).snapshot),
                    feature_service=pl.lit("demand_v1"),
                    issued_at=pl.lit(known_at_morning(cutoff, settings.timezone)),
                )
                ledger.append(con, "forecasts", rows)
        ledger.note_training(con, known_at_morning(SINCE, settings.timezone))
    with (
        temporary_settings({PREFECT_SERVER_DATABASE_TIMEOUT: 60}),  # on a busy machine
        prefect_test_harness(server_startup_timeout=180),
    ):
        for name, value in settings.model_dump(mode="json", exclude_defaults=True).items():
            patch.setenv(f"SHELFCAST_{name.upper()}", str(value))
        in_registry(patch, champion)
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name("duckdb-writer", limit=1)
        yield settings


def in_registry(patch: pytest.MonkeyPatch, champion: str) -> None:
    """A registry of folders; a training fits what a replay's does, without the search."""
    from flows import retrain, train
    from serving import rollout

    def register(settings: Settings, trained: training.Training, _data: object) -> str:
        folder = settings.champions_dir / "new"
        forecaster.save(folder, trained.booster_text, trained.manifest)
        return "new"

    def export(settings: Settings, version: str) -> registry.Exported:
        return registry.Exported(version, settings.champions_dir / version)

    patch.setattr(train, "fit", lambda s, data, *_: training.refit(data, gbm.DEFAULTS, seed=s.seed))
    patch.setattr(train, "show", lambda *_: None)
    patch.setattr(rollout, "SHADOW_REQUESTS", 20)
    patch.setattr(retrain, "deploy", lambda: None)
    patch.setattr(registry, "version_of", lambda *_: champion)
    patch.setattr(registry, "parameters_of", lambda *_: gbm.DEFAULTS)
    patch.setattr(registry, "register", register)
    patch.setattr(registry, "export", export)
    for moves in ("challenge", "promote"):
        patch.setattr(registry, moves, lambda *_, **__: None)


@pytest.fixture(scope="module")
def played(production: Settings) -> Settings:
    """The state after the day's deployments, in the order of their schedules."""
    from flows.forecast import forecast
    from flows.ingest import ingest
    from flows.materialize import materialize
    from flows.retrain import retrain

    ingest()
    materialize()
    forecast()
    retrain()
    return production


def test_the_day_has_the_same_snapshot_and_features(played: Settings, replay: Replay) -> None:
    assert (played.snapshots_dir / snapshot_of(replay, DAY).name).exists()
    for view in ("demand", "store_demand"):
        (one,) = (played.features_dir / view / str(DAY)).glob("*.parquet")
        other = replay.settings.features_dir / view / str(DAY) / one.name
        assert pl.read_parquet(one).equals(pl.read_parquet(other))


def test_the_day_has_the_same_forecasts(played: Settings, replay: Replay) -> None:
    with connect(played) as con:
        rows = ledger.issued_forecasts(con, DAY)
    assert rows["model"].n_unique() == 4
    for (model,), own in rows.group_by("model"):
        there = issued(replay, DAY, str(model))
        assert own.select(there.columns).equals(there.sort("store_id", "item_id", "ds"))


def test_the_day_has_the_same_scores(played: Settings, replay: Replay) -> None:
    champion = load(replay, serving(replay, GATED, DAY))
    here = monitoring.score_issued(
        replay.settings, snapshot_of(replay, DAY), champion, ledger_of(replay, GATED, DAY)
    ).scores
    with connect(played) as con:
        there = con.sql("SELECT * FROM scores").pl().select(here.columns)
    order = ["model", "cutoff", "level", "lead_week", "metric"]
    one, two = (frame.sort(order, nulls_last=True) for frame in (here, there))
    assert one.height > 0 and one.drop("value").equals(two.drop("value"))
    assert (one["value"] - two["value"]).abs().max() < 1e-12


def test_the_day_has_the_same_decision_on_drift_and_decay(played: Settings, replay: Replay) -> None:
    with connect(played) as con:
        there = query(con, "latest_decision", gate="retrain").row(0, named=True)
    here = decide(replay, GATED, DAY)
    assert here.trained and here.outcome == there["outcome"] == "retrain"
    measured = json.loads(there["measurements"])
    assert measured.pop("subject") == "scheduled retraining"  # why the gate was asked
    assert measured["n_features"] > 0 and measured["drifted"] and measured["matured_days"] >= 28
    of_gate = {k: v for k, v in here.measurements.items() if not k.startswith("promotion ")}
    assert measured.keys() == of_gate.keys()
    for name, value in measured.items():
        assert of_gate[name] == pytest.approx(value, abs=1e-6), name
    assert here.reasons[: len(there["reasons"])] == tuple(there["reasons"])


def test_the_day_trains_the_same_model_and_decides_the_same_about_it(
    played: Settings, replay: Replay
) -> None:
    here = decide(replay, GATED, DAY)
    one, two = (
        s.champions_dir / v / "booster.txt"
        for s, v in ((played, "new"), (replay.settings, str(here.trained)))
    )
    assert one.read_text() == two.read_text()
    with connect(played) as con:
        there = query(con, "latest_decision", gate="promote").row(0, named=True)
    said = [f"promotion {there['outcome']}: {reason}" for reason in there["reasons"]]
    assert list(here.reasons[-len(said) :]) == said
    measured = json.loads(there["measurements"])
    promotion = {
        k.removeprefix("promotion "): v
        for k, v in here.measurements.items()
        if k.startswith("promotion ")
    }
    assert promotion["origins"] >= 4 and promotion["slices"] > 0 and promotion["ratio"] > 0
    for name, value in promotion.items():
        assert measured[name] == pytest.approx(value, abs=1e-6), name


def test_the_flow_writes_its_report_and_says_that_no_server_logs_it(
    production: Settings,
    replayed: Replay,
    retailer: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.replay import replay as flow

    for name, value in retailer.model_dump(mode="json", exclude_defaults=True).items():
        monkeypatch.setenv(f"SHELFCAST_{name.upper()}", str(value))
    monkeypatch.setenv("SHELFCAST_FIRST_CUTOFF", "2017-09-10")
    monkeypatch.setenv("SHELFCAST_MLFLOW_PORT", "1")
    found = flow(weeks=2, policies=["always", "gated"])
    assert Path(found["report"]).parent == replayed.folder
    assert "When should the model be trained again?" in Path(found["report"]).read_text()
    assert found["logged"].startswith("not logged: The MLflow server at http://127.0.0.1:1 ")


@pytest.fixture
def at_home(played: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The state again: Feast's files name, in the environment, that of the last walk."""
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(played.state_dir))
    return played


def test_past_forecasts_are_issued_again_by_their_deployment(at_home: Settings) -> None:
    from flows.reissue import reissue

    found = reissue(cutoff=DAY)
    assert {one.version for one in found} > set(PUBLISHED)
    assert all(one.is_identical and one.rows == SERIES * 28 for one in found)
    with connect(at_home) as con:
        con.execute(
            "UPDATE forecasts SET y_hat = y_hat + 1e-9 WHERE step = 1 AND cutoff = ?", [DAY]
        )
    with pytest.raises(ValueError, match=r"do not come out as they were issued"):
        reissue(cutoff=DAY)


def test_an_answer_of_the_api_is_issued_again_by_its_request(
    at_home: Settings, replay: Replay
) -> None:
    from flows.collect import collect
    from flows.reissue import reissue
    from serving.api.forecasts import ForecastRequest
    from serving.service import ForecastService

    version = serving(replay, GATED, DAY)
    champion = str(at_home.champions_dir / version)
    service = ForecastService()
    service.configure(
        {"state_dir": str(at_home.state_dir), "version": version, "champion": champion}
    )
    asked = [{"store_id": s, "item_id": i} for s, i in (("s3", "i1"), ("s0", "i0"), ("s21", "i1"))]
    planned = [{"ds": str(DAY + timedelta(days=1)), "display": 1}]
    for request_id, body in {
        "known and new": {"series": asked, "horizon": 7},
        "one": {"series": asked[:1]},
        "a what-if": {"series": asked[:1], "what_if": planned},
        "a sum": {"level": "total"},
    }.items():
        service.forecast(ForecastRequest.model_validate(body), datetime.now(UTC), request_id)
    service.champion()[1].spool.close()
    taken = collect()
    assert (taken.files, taken.records, taken.torn) == (1, 3, 0)  # sums of levels are not kept
    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"errors", "performance", "stability"} <= keys
    with connect(at_home) as con:
        scores = query(con, "forecast_scores", since=SINCE)
    assert set(scores["model"]) == {version, *PUBLISHED} and scores["ds"].max() == DAY

    (found,) = reissue(request_id="known and new")
    assert found.is_identical and (found.version, found.rows) == (version, 3 * 7)
    (found,) = reissue(request_id="one")
    assert found.is_identical and found.rows == 28
    with pytest.raises(ValueError, match="was a what-if: the ledger keeps its answer and not the"):
        reissue(request_id="a what-if")
    with pytest.raises(LookupError, match="holds no forecast of request 'a sum'"):
        reissue(request_id="a sum")
    with pytest.raises(ValueError, match="Give either a cutoff or a request_id"):
        reissue(cutoff=DAY, request_id="one")
