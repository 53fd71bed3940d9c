"""One replayed day beside the same day of the deployments."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_SERVER_DATABASE_TIMEOUT, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from checks import monitoring
from checks.policies import policy
from checks.replay import Replay, day, issued, load, snapshot_of
from checks.replay_decisions import decide, ledger_of, serving, walk
from data import ledger
from data.settings import Settings
from data.warehouse import connect, known_at_morning, query
from models import registry
from models.baselines import PUBLISHED

SINCE = date(2017, 9, 10)
DAY = SINCE + timedelta(weeks=1)
GATED = policy("gated")


@pytest.fixture(scope="module")
def production(replayed: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The state in which the deployments find the day: the replay's of the day before."""
    state = tmp_path_factory.mktemp("production") / "state"
    before = replace(replayed, settings=replayed.settings.model_copy(update={"state_dir": state}))
    for kept in ("days", "issued", "fits", "champions", "decisions"):
        shutil.copytree(replayed.folder / kept, state / kept)
    for cutoff in before.days:
        if cutoff >= SINCE:
            (state / "days" / f"{cutoff}.json").unlink()
    walk(before, SINCE - timedelta(days=1), DAY - timedelta(days=1))
    with connect(before.settings) as con:
        for cutoff in (d for d in before.days if d < DAY):
            for model in (serving(replayed, GATED, cutoff), *PUBLISHED):
                rows = issued(replayed, cutoff, model).with_columns(
                    snapshot_id=pl.lit(day(before, cutoff).snapshot),
                    feature_service=pl.lit("demand_v1"),
                    issued_at=pl.lit(known_at_morning(cutoff, replayed.settings.timezone)),
                )
                ledger.append(con, "forecasts", rows)
        trained = known_at_morning(SINCE, replayed.settings.timezone)
        ledger.note_training(con, trained)
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_SERVER_DATABASE_TIMEOUT: 60}),  # on a busy machine
        prefect_test_harness(server_startup_timeout=180),
    ):
        for name, value in before.settings.model_dump(mode="json", exclude_defaults=True).items():
            patch.setenv(f"SHELFCAST_{name.upper()}", str(value))
        champion = serving(replayed, GATED, DAY)
        patch.setattr(registry, "version_of", lambda *_: champion)
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name("duckdb-writer", limit=1)
        yield before.settings


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


def test_the_day_has_the_same_snapshot_and_features(played: Settings, replayed: Replay) -> None:
    assert (played.snapshots_dir / snapshot_of(replayed, DAY).name).exists()
    for view in ("demand", "store_demand"):
        (one,) = (played.features_dir / view / str(DAY)).glob("*.parquet")
        other = replayed.settings.features_dir / view / str(DAY) / one.name
        assert pl.read_parquet(one).equals(pl.read_parquet(other))


def test_the_day_has_the_same_forecasts(played: Settings, replayed: Replay) -> None:
    with connect(played) as con:
        rows = ledger.issued_forecasts(con, DAY)
    assert rows["model"].n_unique() == 4
    for (model,), own in rows.group_by("model"):
        there = issued(replayed, DAY, str(model))
        assert own.select(there.columns).equals(there.sort("store_id", "item_id", "ds"))


def test_the_day_has_the_same_scores(played: Settings, replayed: Replay) -> None:
    champion = load(replayed, serving(replayed, GATED, DAY))
    here = monitoring.score_issued(
        replayed.settings, snapshot_of(replayed, DAY), champion, ledger_of(replayed, GATED, DAY)
    ).scores
    with connect(played) as con:
        there = con.sql("SELECT * FROM scores").pl().select(here.columns)
    order = ["model", "cutoff", "level", "lead_week", "metric"]
    one, two = (frame.sort(order, nulls_last=True) for frame in (here, there))
    assert one.height > 0 and one.drop("value").equals(two.drop("value"))
    assert (one["value"] - two["value"]).abs().max() < 1e-12


def test_the_day_has_the_same_decision(played: Settings, replayed: Replay) -> None:
    with connect(played) as con:
        there = query(con, "latest_decision", gate="retrain").row(0, named=True)
    here = decide(replayed, GATED, DAY)
    assert there["outcome"] == here.outcome == "insufficient"
    assert tuple(there["reasons"]) == here.reasons
    measured = json.loads(there["measurements"])
    assert measured.pop("subject") == "scheduled retraining"  # why the gate was asked
    assert measured.keys() == here.measurements.keys() and measured["matured_days"] == 7
    for name, value in measured.items():
        assert here.measurements[name] == pytest.approx(value, abs=1e-6), name


def test_the_flow_writes_its_report_and_says_that_no_server_logs_it(
    production: Settings, replayed: Replay, retailer: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.replay import replay

    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(retailer.state_dir))
    monkeypatch.setenv("SHELFCAST_MLFLOW_PORT", "1")
    found = replay(weeks=2, policies=["always", "gated"])
    assert Path(found["report"]).parent == replayed.folder
    assert "When should the model be trained again?" in Path(found["report"]).read_text()
    assert found["logged"].startswith("not logged: The MLflow server at http://127.0.0.1:1 ")


def test_a_past_forecast_is_issued_again_by_its_deployment(played: Settings) -> None:
    from flows.reissue import reissue

    found = reissue(cutoff=DAY)
    assert len(found) == 4  # the champion and three baselines
    assert all(one.is_identical and one.rows == 24 * 28 for one in found)
    with connect(played) as con:
        con.execute(
            "UPDATE forecasts SET y_hat = y_hat + 1e-9 WHERE step = 1 AND cutoff = ?", [DAY]
        )
    with pytest.raises(ValueError, match=r"do not come out as they were issued"):
        reissue(cutoff=DAY)
