"""History, accuracy, decisions and exceptions over HTTP, from published Parquet."""

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data import publication
from data.schema import KEYS, QUANTILE_COLUMNS, SALES
from serving.api.insight import Accuracy, Decisions, Exceptions, History
from serving.service import ForecastService

NOW, CUTOFF = datetime(2017, 9, 11, 12, tzinfo=UTC), date(2017, 9, 10)
ODD = ("a/b", "X Y|Z/1")  # ids that a path must survive


def forecast(key: tuple[str, str], ds: date, step: int, y_hat: float) -> dict[str, object]:
    made = {"store_id": key[0], "item_id": key[1], "ds": ds, "step": step, "y_hat": y_hat}
    known = {"cutoff": ds - timedelta(days=step), "model": "1", "snapshot_id": "s0"}
    return made | known | {q: y_hat + i - 3 for i, q in enumerate(QUANTILE_COLUMNS)}


@pytest.fixture
def published(state: Path) -> Path:
    """What flows publish: one series with a short history, one with odd ids."""
    sales = [
        (*key, CUTOFF - timedelta(days=k), 5.0 + k, 2.5, NOW)
        for key in [("1", "GROCERY"), ODD]
        for k in (0, 1, 3)
    ]
    pl.DataFrame(sales, schema=SALES, orient="row").write_parquet(
        state / "snapshots" / "s1" / "sales.parquet"
    )
    day = CUTOFF - timedelta(days=1)
    past = [forecast(("1", "GROCERY"), day, step, 10.0 + step) for step in (1, 3, 9)]
    rows = {
        "level": ["total", "store", "store"],
        "store_id": [None, "1", "2"],
        "model": "1",
        "weeks": 4,
        "units": [30.0, 20.0, 10.0],
        "value": [60.0, 40.0, 20.0],
        "wape": [0.1, 0.2, None],
        "bias": 0.0,
        "coverage_80": None,
        "value_added": 0.1,
        "item_id": None,
        "department": None,
    }
    plan = {"display": 2.0, "mailer": 0.0, "store_id": "1", "item_id": "GROCERY", "ds": [day]}
    decision = {"decided_at": [NOW], "gate": "retrain", "outcome": "pass", "reasons": [["fine"]]}
    what = [("1", "GROCERY", "miss", "Sold more.", 9.0), ("2", "GROCERY", "bias", "High.", 5.0)]
    exceptions = pl.DataFrame(what, schema=[*KEYS, "kind", "reason", "value"], orient="row")
    frames = {
        "forecasts": pl.DataFrame(past),
        "plan": pl.DataFrame(plan),
        "accuracy": pl.DataFrame(rows),
        "figures": pl.DataFrame(
            {"model": ["1"], "cutoff": [CUTOFF], "metric": ["wrmsse mean"], "value": [0.5]}
        ),
        "decisions": pl.DataFrame({**decision, "measurements": ['{"loss": NaN, "n": 3}']}),
        "exceptions": exceptions.with_columns(since=pl.lit(day), until=pl.lit(CUTOFF)),
    }
    about = {"snapshot_id": "s1", "cutoff": CUTOFF, "since": day, "until": CUTOFF}
    publication.write(state / "published", frames, about, NOW)
    return state / "published"


def test_the_history_is_every_day_with_price_and_promotion(
    client: TestClient, published: Path
) -> None:
    answer = client.get("/v1/series/1/GROCERY/history?days=30&lead=3")
    history = History.model_validate_json(answer.content, strict=True)
    assert [d.y for d in history.days] == [8.0, 0.0, 6.0, 5.0]
    assert [d.price for d in history.days] == [2.5, None, 2.5, 2.5]
    assert [d.display for d in history.days] == [0.0, 0.0, 2.0, 0.0]
    assert history.days[-1].ds == history.cutoff == CUTOFF
    assert [(p.ds, p.display) for p in history.planned] == [(date(2017, 9, 12), 3.0)]
    (past,) = history.forecasts
    assert (past.y_hat, past.likely, past.cutoff) == (13.0, (11.0, 15.0), date(2017, 9, 6))


def test_of_two_versions_of_a_past_forecast_the_newer_is_shown(
    client: TestClient, published: Path
) -> None:
    rows = pl.read_parquet(published / "forecasts.parquet")
    both = [rows.with_columns(model=pl.lit(model)) for model in ("9", "10", "2")]
    publication.write_table(published, "forecasts", pl.concat(both))
    (past,) = client.get("/v1/series/1/GROCERY/history?lead=3").json()["forecasts"]
    assert past["model"] == "10"


def test_only_so_many_days_are_returned(client: TestClient, published: Path) -> None:
    days = client.get("/v1/series/1/GROCERY/history?days=2").json()["days"]
    assert [d["y"] for d in days] == [6.0, 5.0]


def test_ids_with_slashes_bars_and_spaces_survive_the_path(
    client: TestClient, published: Path
) -> None:
    answer = client.get("/v1/series/a%2Fb/X%20Y%7CZ%2F1/history").json()
    assert (answer["store_id"], answer["item_id"]) == ODD
    missing = client.get("/v1/series/a/b%2FX/history")
    assert missing.status_code == 404 and "store_id='a'" in missing.json()["detail"]


def test_an_id_that_is_too_long_is_named(client: TestClient, published: Path) -> None:
    answer = client.get(f"/v1/series/1/{'x' * 200}/history")
    assert answer.status_code == 422 and "item_id" in answer.json()["errors"][0]["path"]


def test_before_the_first_publication_it_is_told_what_to_run(client: TestClient) -> None:
    for route in ("accuracy", "decisions", "exceptions", "series/1/GROCERY/history"):
        answer = client.get(f"/v1/{route}")
        assert answer.status_code == 503 and "forecast deployment" in answer.json()["detail"]


def test_accuracy_is_filtered_by_level_and_store(client: TestClient, published: Path) -> None:
    answer = client.get("/v1/accuracy?level=store&store_id=2")
    accuracy = Accuracy.model_validate_json(answer.content, strict=True)
    assert [(r.store_id, r.wape) for r in accuracy.rows] == [("2", None)]
    assert accuracy.figures[0].metric == "wrmsse mean" and accuracy.cutoff == CUTOFF
    assert len(client.get("/v1/accuracy").json()["rows"]) == 1
    assert client.get("/v1/accuracy?level=shop").status_code == 422


def test_decisions_tell_reasons_and_no_nan(client: TestClient, published: Path) -> None:
    answer = client.get("/v1/decisions?gate=retrain")
    (decision,) = Decisions.model_validate_json(answer.content, strict=True).decisions
    assert decision.reasons == ["fine"] and decision.measurements == {"loss": None, "n": 3}
    assert client.get("/v1/decisions?gate=promote").json()["decisions"] == []


def test_exceptions_are_filtered_and_counted(client: TestClient, published: Path) -> None:
    answer = client.get("/v1/exceptions?limit=1")
    exceptions = Exceptions.model_validate_json(answer.content, strict=True)
    assert exceptions.count == 2 and exceptions.exceptions[0].reason == "Sold more."
    assert client.get("/v1/exceptions?kind=bias").json()["exceptions"][0]["store_id"] == "2"
    assert client.get("/v1/exceptions?store_id=9").json()["count"] == 0


def test_the_status_says_how_fresh_all_is(client: TestClient, published: Path) -> None:
    status = client.get("/v1/status").json()
    assert status["model_version"] == "1" and status["cutoff"] == "2017-09-10"
    assert status["published_at"] == "2017-09-11T12:00:00Z"
    assert status["replay_url"] is None and status["replay_result"] is None


@pytest.mark.parametrize(
    ("at", "days"),
    [
        (datetime(2017, 9, 12, 23, tzinfo=UTC), 0),  # the sales of the 11th come in today
        (datetime(2017, 9, 13, 3, tzinfo=UTC), 0),  # in New York it is the 12th still
        (datetime(2017, 9, 13, 12, tzinfo=UTC), 1),
        (datetime(2017, 9, 19, 12, tzinfo=UTC), 7),
    ],
)
def test_live_data_that_do_not_come_in_are_late(
    state: Path, published: Path, monkeypatch: pytest.MonkeyPatch, at: datetime, days: int
) -> None:
    def late_days() -> int | None:
        service = ForecastService()
        service.configure({"state_dir": str(state), "version": None})
        return service.status(at).late_days

    assert late_days() is None, "replayed data play the calendar themselves"
    monkeypatch.setenv("SHELFCAST_MODE", "live")
    assert late_days() == days


def test_status_reads_the_last_replay_again_only_when_its_file_changed(
    client: TestClient, state: Path
) -> None:
    def replayed(name: str, sentence: str, at: int) -> str:
        results = state / "replay" / name / "results.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({"sentence": sentence}))
        os.utime(results, (at, at))
        return str(client.get("/v1/status").json()["replay_result"])

    assert replayed("first", "Keep the gate.", at=1000) == "Keep the gate."
    assert replayed("first", "Not read.", at=1000) == "Keep the gate."
    assert replayed("first", "Retrain monthly.", at=1001) == "Retrain monthly."
    assert replayed("second", "Retrain weekly.", at=1002) == "Retrain weekly."
    assert replayed("first", "Older.", at=1000) == "Retrain weekly."


def test_series_are_searched_without_case(client: TestClient) -> None:
    found = client.get("/v1/series?search=meat").json()
    assert found["series"] == [{"store_id": "1", "item_id": "MEAT"}] and found["count"] == 1
