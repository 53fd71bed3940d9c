"""What-ifs, levels, formats, orders, explanations, overrides and last good features over HTTP."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data import publication
from data.schema import (
    PLAN,
    QUANTILE_COLUMNS,
    SALES,
)
from serving.api.forecasts import ForecastResponse
from serving.api.planning import Explanation, Orders, Override, Overrides

from .conftest import GROCERY, OVERRIDE

NOW, CUTOFF = datetime(2017, 9, 11, 12, tzinfo=UTC), date(2017, 9, 10)
MEAT = {"store_id": "1", "item_id": "MEAT"}
FORECASTS = "/v1/forecasts"


@pytest.fixture(autouse=True)
def published(state: Path) -> Path:
    """Prices seen from 2 to 3, up to 4 products on display; a run of the day before."""
    rows = [("1", "GROCERY", CUTOFF - timedelta(days=k), 2.0, 2.0 + k, NOW) for k in (0, 1)]
    folder = state / "snapshots"
    pl.DataFrame(rows, schema=SALES, orient="row").write_parquet(folder / "s1" / "sales.parquet")
    (folder / "s0").mkdir()
    pl.DataFrame(schema=PLAN).write_parquet(folder / "s0" / "plan.parquet")
    plan = {"store_id": "1", "item_id": "GROCERY", "ds": [CUTOFF], "display": 4.0, "mailer": 0.0}
    run = {"store_id": "1", "item_id": "GROCERY", "model": "1", "snapshot_id": "s0"}
    days = [CUTOFF + timedelta(days=k) for k in range(28)]
    run |= {
        "ds": days,
        "step": list(range(1, 29)),
        "y_hat": 7.0,
        **dict.fromkeys(QUANTILE_COLUMNS, 7.0),
    }
    before = pl.DataFrame(run).with_columns(cutoff=pl.lit(CUTOFF - timedelta(days=1)))
    frames = {"plan": pl.DataFrame(plan), "forecasts": before}
    about = {"snapshot_id": "s1", "cutoff": CUTOFF}
    publication.write(state / "published", frames, about, NOW)
    return state / "published"


def forecast(client: TestClient, **body: Any) -> ForecastResponse:
    answer = client.post(FORECASTS, json={"series": [GROCERY], "horizon": 2, **body})
    assert answer.status_code == 200, answer.text
    return ForecastResponse.model_validate_json(answer.content, strict=True)


def test_a_what_if_is_answered_beside_the_plan(client: TestClient) -> None:
    change = {"ds": "2017-09-11", "display": 4}
    answer = forecast(client, what_if=[change])
    (node,) = answer.forecasts
    assert [d.y_hat for d in node.days] == [14.0, 13.0]
    assert node.baseline and [d.y_hat for d in node.baseline] == [10.0, 13.0]
    assert answer.warnings == []
    assert forecast(client).forecasts[0].baseline is None


def test_of_changes_of_the_same_day_the_last_counts_and_others_stay(client: TestClient) -> None:
    changes = [
        {"ds": "2017-09-12", "display": 1},
        {**GROCERY, "ds": "2017-09-12", "display": 2},
        {"ds": "2017-09-11", "mailer": 1},
    ]
    answer = forecast(client, series=[GROCERY, MEAT], what_if=changes)
    assert [d.y_hat for d in answer.forecasts[0].days] == [10.0, 12.0]
    assert [d.y_hat for d in answer.forecasts[1].days] == [20.0, 21.0]


def test_a_what_if_that_was_never_seen_is_warned_of(client: TestClient) -> None:
    changes = [{"ds": "2017-09-11", "display": 9}, {"ds": "2017-09-12", "price": 0.5}]
    told = forecast(client, what_if=changes).warnings
    assert len(told) == 2
    assert "products on display of 9 for GROCERY" in told[0] and "from 0 to 4" in told[0]
    assert "price of 0.5" in told[1] and "from 2 to 3" in told[1]
    assert forecast(client, what_if=[{"ds": "2017-09-11", "price": 2.5}]).warnings == []


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"ds": "2017-09-13", "display": 1}, "/what_if/0/ds", "2017-09-11 to 2017-09-12"),
        ({"ds": "2017-09-11", "store_id": "2", "display": 1}, "/what_if/0", "store_id='2'"),
        ({"ds": "2017-09-11"}, "/what_if/0", "display, mailer or price"),
        ({"ds": "2017-09-11", "display": -1}, "/what_if/0/display", "from 0 to 10000"),
        ({"ds": "2017-09-11", "price": 0}, "/what_if/0/price", "above 0"),
        ({"ds": "soon", "price": 1}, "/what_if/0/ds", "a day such as"),
    ],
)
def test_a_what_if_that_makes_no_sense_is_named(
    client: TestClient, change: dict[str, Any], path: str, says: str
) -> None:
    body = {"series": [GROCERY], "horizon": 2, "what_if": [change]}
    answer = client.post(FORECASTS, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == path
    assert says in answer.json()["errors"][0]["detail"]


def test_changes_above_the_limit_are_refused_before_they_are_built(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.what_if.MAX_CELLS", 3)
    change = {"ds": "2017-09-11", "display": 1}
    body = {"series": [GROCERY, MEAT], "horizon": 2, "what_if": [change] * 9}
    answer = client.post(FORECASTS, json=body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["path"] == "/what_if"
    assert "the first 2 of 9 changes are 4 already" in answer.json()["detail"]


def test_levels_sum_the_series_that_are_asked_for(client: TestClient) -> None:
    answer = forecast(client, series=[GROCERY, MEAT], level="store")
    (store,) = answer.forecasts
    assert (store.store_id, store.item_id, store.snapshot_id) == ("1", None, "s1")
    assert [d.y_hat for d in store.days] == [30.0, 33.0]
    assert store.days[0].quantiles.keys() == {"0.1", "0.5", "0.9"}


def test_a_level_without_series_is_of_all_of_them(client: TestClient) -> None:
    answer = forecast(client, series=None, level="item", horizon=1)
    assert {n.item_id: n.days[0].y_hat for n in answer.forecasts} == {
        "GROCERY": 10.0 + 30.0 + 5.0,
        "MEAT": 20.0,
    }
    answer = client.post(FORECASTS, json={"horizon": 1})
    assert answer.status_code == 422 and "series is required" in answer.json()["detail"]


def test_csv_is_made_for_spreadsheets_and_holds_no_formula(client: TestClient, online: Any) -> None:
    online.rows["=1+1", "@x"] = ("s1", str(CUTOFF), 1.0)
    series = [GROCERY, {"store_id": "=1+1", "item_id": "@x"}]
    body = {"series": series, "horizon": 1, "quantiles": [0.5]}
    answer = client.post(FORECASTS, json=body, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert (
        rows[0]["y_hat"] == "10.0" and rows[0]["q0.5"] == "10.0" and rows[0]["ds"] == "2017-09-11"
    )
    assert (rows[1]["store_id"], rows[1]["item_id"]) == ("'=1+1", "'@x")
    assert {r["model_version"] for r in rows} == {"1"}
    assert {r["warnings"] + r["analogues"] + r["degraded_reason"] for r in rows} == {""}
    never = client.post(
        FORECASTS,
        json={"series": [GROCERY], "horizon": 2, "what_if": [{"ds": "2017-09-11", "display": 9}]},
        headers={"Accept": "text/csv"},
    )
    warned = list(csv.DictReader(io.StringIO(never.text)))
    assert all("outside of what the model has seen" in r["warnings"] for r in warned)
    assert [r["baseline"] for r in warned] == ["10.0", "13.0"]


def test_one_series_by_get_is_cached_by_its_tag(
    client: TestClient, configure: Callable[[str], None]
) -> None:
    url = f"{FORECASTS}/1/GROCERY?horizon=2&quantiles=0.5"
    first = client.get(url)
    assert (
        first.json()["forecasts"]
        == client.post(
            FORECASTS, json={"series": [GROCERY], "horizon": 2, "quantiles": [0.5]}
        ).json()["forecasts"]
    )
    assert "max-age" in first.headers["cache-control"]
    tag = {"If-None-Match": first.headers["etag"]}
    again = client.get(url, headers=tag)
    assert again.status_code == 304 and again.content == b""
    assert client.get(url.replace("horizon=2", "horizon=3"), headers=tag).status_code == 200
    configure("2")
    assert client.get(url, headers=tag).status_code == 200


def test_a_bad_get_names_the_parameter(client: TestClient) -> None:
    for query, path in {"horizon=99": "horizon", "quantiles=.5,x": "quantiles"}.items():
        answer = client.get(f"{FORECASTS}/1/GROCERY?{query}")
        assert answer.status_code == 422 and path in answer.json()["errors"][0]["path"]
    assert client.get(f"{FORECASTS}/1/GROCERY?quantiles=0.5,0.5").status_code == 422
    assert client.get(f"{FORECASTS}/9/GROCERY").status_code == 404


def test_an_order_fills_up_to_the_quantile_of_the_sum(client: TestClient) -> None:
    stock = [{**MEAT, "on_hand": 100}, {**GROCERY, "on_hand": 0}]
    body = {"series": stock, "lead_time_days": 3, "review_days": 7, "service_level": 0.9}
    answer = client.post("/v1/orders", json=body)
    orders = Orders.model_validate_json(answer.content, strict=True)
    meat, grocery = orders.orders  # demand is uniform from 0 to 400, and from 0 to 206
    assert (meat.order_up_to, meat.order_quantity) == (360.0, 260.0)
    assert meat.expected_demand == 200 and meat.expected_cost is None
    assert meat.expected_shortage == pytest.approx(2.0, abs=0.05)
    assert meat.days_of_cover == pytest.approx(18.0)
    assert (grocery.item_id, orders.since, orders.until) == (
        "GROCERY",
        date(2017, 9, 11),
        date(2017, 9, 20),
    )


def test_costs_choose_the_service_level_and_are_told(client: TestClient) -> None:
    body = {"series": [MEAT], "review_days": 10, "shortage_cost": 3, "leftover_cost": 1}
    orders = client.post("/v1/orders", json=body).json()
    assert orders["service_level"] == 0.75
    (order,) = orders["orders"]
    assert order["order_up_to"] == 300.0
    expected = 3 * order["expected_shortage"] + order["expected_leftover"]
    assert order["expected_cost"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "body", [{"service_level": 0.97250001}, {"shortage_cost": 16.5, "leftover_cost": 1.1}]
)
def test_a_service_level_beside_one_of_the_grid_is_answered(
    client: TestClient, body: dict[str, float]
) -> None:
    answer = client.post("/v1/orders", json={"series": [MEAT], "review_days": 10, **body})
    assert answer.status_code == 200, answer.text
    level = answer.json()["service_level"]
    assert answer.json()["orders"][0]["order_up_to"] == pytest.approx(400 * level, abs=1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "service_level, or shortage_cost"),
        ({"service_level": 0.9, "shortage_cost": 1}, "both needed"),
        ({"shortage_cost": 1}, "both needed"),
        ({"shortage_cost": 1, "leftover_cost": 0}, "both needed"),
        ({"service_level": 1.0}, "less than 1"),
        ({"service_level": 0.9, "lead_time_days": 20, "review_days": 9}, "at most 28"),
        ({"service_level": 0.9, "series": [{**MEAT, "on_hand": -1}]}, "from 0 to 1000000000"),
        ({"service_level": 0.9, "series": [MEAT, MEAT]}, "twice"),
    ],
)
def test_an_order_that_makes_no_sense_says_why(
    client: TestClient, body: dict[str, Any], says: str
) -> None:
    answer = client.post("/v1/orders", json={"series": [MEAT], **body})
    assert answer.status_code == 422 and says in answer.json()["errors"][0]["detail"]


@pytest.fixture
def same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of the run before, from the data as known now: mean_7 is 8."""
    frame = {**GROCERY, "cutoff": CUTOFF - timedelta(days=1), "mean_7": 8.0}
    monkeypatch.setattr("serving.explanations._features", lambda *_: pl.DataFrame([frame]))


def test_drivers_sum_to_the_forecast(client: TestClient, same_features: None) -> None:
    answer = client.post("/v1/explanations", json={**GROCERY, "ds": "2017-09-12"})
    told = Explanation.model_validate_json(answer.content, strict=True)
    assert told.y_hat == 13.0
    assert told.base + sum(d.units for d in told.drivers) == pytest.approx(told.y_hat)
    assert [(d.name, d.units) for d in told.drivers] == [("recent sales", 9.0), ("promotion", 3.0)]


def test_why_it_changed_sums_to_the_change(
    client: TestClient, same_features: None, configure: Callable[[str], None]
) -> None:
    configure("2")
    client_answer = client.post("/v1/explanations", json={**GROCERY, "ds": "2017-09-12"})
    changed = Explanation.model_validate_json(client_answer.content).changed
    assert changed is not None
    assert (changed.previous, changed.current) == (7.0, 26.0)
    assert {p.cause: p.units for p in changed.parts} == {
        "revised data": 1.0,  # 8 instead of 7
        "new actuals": 2.0,  # 10 instead of 8
        "changed plan": 3.0,  # 3 on display
        "new model": 13.0,  # version 2 says twice as much
    }
    assert sum(p.units for p in changed.parts) == changed.units


def test_days_that_the_run_before_did_not_reach_are_left_out(
    client: TestClient, same_features: None
) -> None:
    answer = client.post("/v1/explanations", json=GROCERY).json()
    assert (answer["since"], answer["until"]) == ("2017-09-11", "2017-10-08")
    assert answer["changed"]["until"] == "2017-10-07"
    assert answer["changed"]["previous"] == 7.0 * 27


def test_a_run_before_of_fewer_days_is_compared_over_its_own(
    client: TestClient, same_features: None, published: Path
) -> None:
    run = pl.read_parquet(published / "forecasts.parquet").filter(pl.col("step") <= 7)
    older = run.with_columns(model=pl.lit("9"), y_hat=pl.lit(1.0))
    both = pl.concat([run.with_columns(model=pl.lit("10")), older])
    publication.write_table(published, "forecasts", both)
    changed = client.post("/v1/explanations", json=GROCERY).json()["changed"]
    assert (changed["previous_version"], changed["until"]) == ("10", "2017-09-16")
    assert changed["previous"] == 7.0 * 6


def test_without_a_run_before_nothing_is_said_of_a_change(client: TestClient) -> None:
    assert client.post("/v1/explanations", json=MEAT).json()["changed"] is None


def test_a_day_that_is_not_forecast_can_not_be_explained(client: TestClient) -> None:
    answer = client.post("/v1/explanations", json={**GROCERY, "ds": "2017-09-10"})
    assert answer.status_code == 422
    assert "2017-09-11 to 2017-10-08" in answer.json()["errors"][0]["detail"]


def test_an_override_is_taken_down_beside_the_models_forecast(
    client: TestClient, service: Any, state: Path
) -> None:
    answer = client.post("/v1/overrides", json=OVERRIDE)
    taken = Override.model_validate_json(answer.content)
    assert answer.status_code == 201 and taken.baseline == 23.0 and taken.author == "local"
    listed = Overrides.model_validate_json(client.get("/v1/overrides?store_id=1").content)
    assert [o.override_id for o in listed.overrides] == [taken.override_id]
    assert client.get("/v1/overrides?store_id=2").json()["overrides"] == []
    service._source.spool.close()
    (file,) = (state / "spool").glob("*.jsonl")
    assert taken.override_id in file.read_text()


def test_a_published_override_is_listed_once_with_its_score(
    client: TestClient, published: Path
) -> None:
    taken = client.post("/v1/overrides", json=OVERRIDE).json()
    rows = pl.DataFrame([taken]).with_columns(
        pl.col("since", "until").str.to_date(),
        pl.col("created_at", "expires_at").str.to_datetime(time_zone="UTC"),
        actual=pl.lit(38.0),
        value_added=pl.lit(13.0),
    )
    publication.write_table(published, "overrides", rows)
    (listed,) = client.get("/v1/overrides").json()["overrides"]
    assert (listed["override_id"], listed["value_added"]) == (taken["override_id"], 13.0)
    assert not list((published.parent / "overrides").iterdir())
