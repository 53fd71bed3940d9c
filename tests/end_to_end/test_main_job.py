"""The main job on real sales and the real components, as a user meets it. The order matters."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import mlflow
import polars as pl
import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect

from benchmarks.browser import chromium
from data.schema import KEYS
from data.settings import ROOT, Settings
from data.warehouse import Connection, connect, known_at_morning, query, sales_as_of
from demo import RunFailed, follow
from feature_repo import store
from models.assembly import features_as_known
from models.forecaster import Forecaster
from stack.prefect_api import Prefect
from stack.processes import find, read
from stack.programs import MLFLOW, PREFECT, environment

from .conftest import decision, listening

pytestmark = pytest.mark.end_to_end


def _decisions(con: Connection) -> int:
    (count,) = con.execute("SELECT count(*) FROM gate_decisions WHERE gate = 'retrain'").fetchall()
    return int(count[0])


@pytest.mark.score("infrastructure", 3)
def test_the_demo_shows_forecast_accuracy_decision_and_links(demo: str) -> None:
    for text in ("pipeline/pipeline", "Retraining gate:", "units a day", "WRMSSE", "Prefect"):
        assert text in demo
    for name in ("ingest", "materialize", "train", "deploy", "forecast", "retrain"):
        assert f"\n  {name} " in demo


def test_the_planted_rows_are_quarantined_with_their_reasons(running: Settings, demo: str) -> None:
    with connect(running) as con:
        reasons = dict(query(con, "quarantined").iter_rows())
    assert reasons == {
        "day lies after the delivery": 1,
        "item is missing": 1,
        "quantity is negative": 1,
    }
    assert all(reason in demo for reason in reasons)


def test_the_planted_revision_changes_later_reads_and_no_earlier_snapshot(
    running: Settings, demo: str
) -> None:
    path = running.state_dir / "demo" / "redelivery.csv"
    assert path.exists()
    day = running.first_cutoff + timedelta(days=14)
    morning = known_at_morning(day, running.timezone)
    with connect(running) as con:
        before = sales_as_of(con, morning).filter(pl.col("ds") == day)
        after = sales_as_of(con, morning + timedelta(days=60)).filter(pl.col("ds") == day)
    changed = after.join(before, on=[*KEYS, "ds", "y"], how="anti")
    assert changed.height == 1
    for about in running.snapshots_dir.glob("*/snapshot.json"):
        if json.loads(about.read_text())["cutoff"] >= str(day):
            kept = pl.read_parquet(about.parent / "sales.parquet").filter(pl.col("ds") == day)
            assert kept.join(changed, on=[*KEYS, "ds", "y"], how="semi").is_empty()


def test_the_gate_decides_on_at_least_28_matured_days(running: Settings, demo: str) -> None:
    found = decision(running, "retrain")
    assert json.loads(found["measurements"])["matured_days"] >= 28
    assert found["outcome"] in ("pass", "alert", "retrain", "fall_back") and found["reasons"]


def test_at_least_700_series_are_forecast_and_kept(running: Settings, demo: str) -> None:
    with connect(running) as con:
        rows = query(con, "issued_forecasts", since=running.first_cutoff)
    own = rows.filter(pl.col("model") == "1")
    assert own.select(KEYS).unique().height >= 700
    assert own["cutoff"].n_unique() == 5
    assert set(own.group_by("cutoff").agg(pl.col("step").max())["step"]) == {28}


@pytest.mark.score("model", 5)
def test_the_first_model_beats_every_baseline_on_days_that_it_did_not_know(
    running: Settings, demo: str
) -> None:
    with connect(running) as con:
        scores = query(con, "latest_scores")
    headline = dict(
        scores.filter(pl.col("metric") == "wrmsse mean").select("model", "value").iter_rows()
    )
    assert len(headline) == 4 and min(headline, key=headline.__getitem__) == "1"


@pytest.mark.parametrize("name", ["ingest", "materialize", "forecast", "monitor", "retrain"])
def test_scheduled_runs_appear(prefect: Prefect, name: str) -> None:
    body = {
        "deployments": {"name": {"any_": [name]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    assert prefect.ask("POST", "flow_runs/filter", body)


def test_artifacts_hold_contract_backtest_parity_and_decision(prefect: Prefect) -> None:
    body = {"limit": 200}
    found = prefect.ask("POST", "artifacts/filter", body)
    keys = {artifact["key"] for artifact in found}
    assert keys >= {
        *("deliveries", "contract-landing", "backtest", "online-offline-parity"),
        *("gate-retrain", "gate-promote", "matured-forecasts", "drift"),
        *("errors", "performance", "stability"),
    }


def test_the_registry_holds_a_whole_run(running: Settings, demo: str) -> None:
    mlflow.set_tracking_uri(running.mlflow_url)
    client = MlflowClient()
    version = client.get_model_version_by_alias("demand", "champion")
    run = client.get_run(version.run_id)
    assert run.data.tags["snapshot_id"] == run.inputs.dataset_inputs[0].dataset.name.split()[0]
    assert run.data.tags["feature_service"] == "demand_v1" and run.data.tags["git_commit"]
    names = {a.path for a in client.list_artifacts(version.run_id)}
    wanted = {"trials.json", "backtest.json", "manifest.json", "forecast_against_actuals.png"}
    assert wanted <= names
    info = mlflow.models.get_model_info("models:/demand@champion")
    assert info.signature is not None and info.saved_input_example_info is not None
    # A started trial is finished, but a slow machine may not get to all of them.
    assert 1 <= run.data.metrics["trials"] <= running.trials
    assert run.data.metrics["probable stock-outs left out/steps"] >= 0


def direct(
    settings: Settings, answer: dict[str, Any], series: dict[str, str], changes: pl.DataFrame
) -> pl.DataFrame:
    """What the version of an answer makes in Python of the stored features and a changed plan."""
    one = answer["forecasts"][0]
    cutoff = date.fromisoformat(one["cutoff"])
    features = features_as_known(settings, pl.DataFrame([series]), [cutoff])
    plan = pl.read_parquet(settings.snapshots_dir / one["snapshot_id"] / "plan.parquet")
    plan = plan.with_columns(price=pl.lit(None, pl.Float64))
    plan = plan.update(changes, on=[*KEYS, "ds"], how="full")
    model = Forecaster.load(settings.champions_dir / answer["model_version"])
    return model.forecast(features, plan, 28)


@pytest.mark.parametrize("change", [{}, {"display": 5.0, "mailer": 3.0, "price": 1.75}])
def test_a_served_forecast_is_the_model_on_the_stored_features_and_the_changed_plan(
    running: Settings, api: httpx.Client, series: dict[str, str], change: dict[str, float]
) -> None:
    cutoff = running.first_cutoff + timedelta(days=28)
    days = [cutoff + timedelta(days=k) for k in (2, 3, 9)] if change else []
    body = {"series": [series], "horizon": 28, "quantiles": [0.1, 0.9]}
    body["what_if"] = [{"ds": str(day), **change} for day in days]
    answer = api.post("/v1/forecasts", json=body).raise_for_status().json()
    one = answer["forecasts"][0]
    assert one["cutoff"] == str(cutoff)
    rows = [{**series, "ds": day, **change} for day in days]
    types = {**dict.fromkeys(KEYS, pl.String), "ds": pl.Date, **dict.fromkeys(change, pl.Float64)}
    made = direct(running, answer, series, pl.DataFrame(rows, schema=types))
    assert [d["y_hat"] for d in one["days"]] == pytest.approx(made["y_hat"].to_list())
    assert [d["quantiles"]["0.9"] for d in one["days"]] == pytest.approx(made["q0.9"].to_list())
    if change:
        pairs = zip(one["days"], one["baseline"], strict=True)
        moved = {new["ds"] for new, old in pairs if new["y_hat"] != old["y_hat"]}
        assert moved and moved <= {str(day) for day in days}


@pytest.mark.parametrize("horizon", [0, 29])
def test_a_horizon_out_of_range_is_a_problem_that_names_it(
    api: httpx.Client, series: dict[str, str], horizon: int
) -> None:
    answer = api.post("/v1/forecasts", json={"series": [series], "horizon": horizon})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "horizon" in answer.text and "28" in answer.text


def test_an_unknown_series_is_not_found_by_name(api: httpx.Client) -> None:
    body = {"series": [{"store_id": "no such store", "item_id": "GROCERY"}]}
    answer = api.post("/v1/forecasts", json=body)
    assert answer.status_code == 404 and "no such store" in answer.text


def test_malformed_json_is_refused(api: httpx.Client) -> None:
    answer = api.post(
        "/v1/forecasts", content=b'{"series": [', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_second_demo_skips_what_is_done_and_asks_the_gate_again(
    running: Settings, demo: str
) -> None:
    with connect(running) as con:
        before = _decisions(con)
    env = environment(running)
    done = subprocess.run(
        [sys.executable, "demo.py"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped: history is loaded, a champion is trained, version 1 serves" in done.stdout
    assert "already loaded" in done.stdout and "Retraining gate:" in done.stdout
    with connect(running) as con:
        after = _decisions(con)
    assert after == before + 1


def test_a_missing_file_fails_the_run_in_one_sentence(prefect: Prefect) -> None:
    with pytest.raises(RunFailed, match=r"there is no file /no/such/sales\.csv"):
        follow(prefect, "ingest/ingest", {"source": "csv", "path": "/no/such/sales.csv"})


def test_a_spoilt_delivery_is_refused_whole_and_the_next_run_goes_on(
    running: Settings, prefect: Prefect, tmp_path: Path
) -> None:
    day = running.first_cutoff + timedelta(days=20)
    spoilt = pl.DataFrame({"store_id": ["1"] * 40, "item_id": ["X"] * 40, "ds": [day] * 40})
    path = tmp_path / "spoilt.csv"
    spoilt.with_columns(y=pl.lit("twelve")).write_csv(path)
    with connect(running) as con:
        before = query(con, "sales_versions").height
    with pytest.raises(RunFailed, match="quantity is missing or not a number"):
        follow(prefect, "ingest/ingest", {"source": "csv", "path": str(path)})
    with connect(running) as con:
        assert query(con, "sales_versions").height == before
    follow(prefect, "ingest/ingest", {})
    with connect(running) as con:
        assert query(con, "sales_versions").height > before


def test_everything_listens_on_loopback_only(running: Settings, demo: str) -> None:
    addresses = {a for found in listening(running).values() for a in found}
    assert addresses and all(a.startswith("127.0.0.1:") for a in addresses), addresses


def assert_forecasts_are_served(api: httpx.Client) -> None:
    """Of all series, so that no answer that was kept is given, and soon."""
    answer = api.post("/v1/forecasts", json={"level": "store", "horizon": 7}).raise_for_status()
    assert not answer.json()["degraded"] and answer.elapsed < timedelta(seconds=5)


def test_a_prefect_server_that_hangs_is_named_with_what_to_do(
    running: Settings, prefect: Prefect, api: httpx.Client
) -> None:
    record = read(running)
    assert record is not None
    server = find(record.processes[PREFECT])
    assert server is not None
    server.suspend()
    try:
        assert_forecasts_are_served(api)
        done = subprocess.run(
            [sys.executable, "demo.py"],
            cwd=ROOT,
            env=environment(running),
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        server.resume()
    assert done.returncode == 1, done.stdout
    assert "does not answer" in done.stdout and "`make down`" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert prefect.ask("GET", "health")


def test_a_mlflow_server_that_is_gone_fails_the_run_in_one_sentence(
    running: Settings, prefect: Prefect, api: httpx.Client
) -> None:
    record = read(running)
    assert record is not None
    server = find(record.processes[MLFLOW])
    assert server is not None
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        with pytest.raises(RunFailed, match=r"MLflow server at .* does not answer; start it with"):
            follow(prefect, "deploy/deploy", {})
        assert_forecasts_are_served(api)
    finally:
        for process in stopped:
            process.resume()


def test_a_locked_online_store_is_answered_from_the_last_good_data(
    running: Settings, api: httpx.Client, series: dict[str, str]
) -> None:
    path = running.state_dir / "online.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder, chromium() as browser:
        holder.execute("BEGIN EXCLUSIVE")
        answer = api.post("/v1/forecasts", json={"series": [series]}).raise_for_status().json()
        assert answer["degraded"] and "does not answer" in answer["degraded_reason"]
        page = browser.new_page()
        page.goto(running.serve_url)
        expect(page.locator("#banner")).to_contain_text("Not up to date.", timeout=15_000)


def test_nothing_goes_round_the_feature_store(
    running: Settings, prefect: Prefect, api: httpx.Client, series: dict[str, str]
) -> None:
    feast = store.open_store(running)
    feast.delete_feature_service("demand_v1")
    feast.delete_feature_view("demand")
    with pytest.raises(RunFailed, match="demand_v1"):
        follow(prefect, "train/train", {"trials": 1})
    assert "demand_v1" in answered(api, series, 503)
    follow(prefect, "materialize/materialize", {})
    answered(api, series, 200)


def answered(api: httpx.Client, series: dict[str, str], status: int) -> str:
    """What is answered once the status is this one: servers cache the registry for ten seconds."""
    for _ in range(120):
        answer = api.post("/v1/forecasts", json={"series": [series]})
        if answer.status_code == status:
            return answer.text
        time.sleep(1)
    raise AssertionError(f"{answer.status_code} instead of {status}: {answer.text}")
