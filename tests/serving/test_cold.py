"""Series without a history of their own: everything that a planner asks of others is answered."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data import publication
from data.schema import DEMAND_FEATURES, SALES, STORE_FEATURES
from serving.api.forecasts import ForecastResponse
from serving.api.insight import History
from serving.api.planning import Explanation
from serving.api.series import SeriesPage

CUTOFF = date(2017, 9, 10)
NOW = datetime(2017, 9, 11, 12, tzinfo=UTC)
NEW = {"store_id": "2", "item_id": "MEAT"}
MEAT = {"store_id": "1", "item_id": "MEAT"}
SELDOM = {"store_id": "1", "item_id": "GARDEN"}
ENDED = {"store_id": "2", "item_id": "GARDEN"}
NEVER = {"store_id": "2", "item_id": "TOYS"}
BORROWED = 6.0 * 15 / 9  # what store 1 sells of MEAT, times what store 2 sells more of GROCERY
GUESS = BORROWED + (2.0 * 2 / 4 - BORROWED) * 4 / (4 + 28)  # it sold 4 units in its 4 days
SAID = "analogues: MEAT in stores 1, times 1.7 for the size of store 2, and 4 days of its own"


@pytest.fixture
def planner(client: TestClient, state: Path) -> TestClient:
    """A client of a world in which store 2 began to sell MEAT three days ago."""
    units = {("1", "GROCERY"): 9.0, ("1", "MEAT"): 6.0, ("2", "GROCERY"): 15.0}
    about = {"cutoff": str(CUTOFF), "snapshot_id": "s1"}
    views = {
        "demand": [
            {"store_id": s, "item_id": i, **about, **dict.fromkeys(DEMAND_FEATURES, mean)}
            for (s, i), mean in units.items()
        ],
        "store_demand": [{"store_id": s, **dict.fromkeys(STORE_FEATURES, 1.0)} for s in "12"],
    }
    for view, rows in views.items():
        folder = state / "features" / view / str(CUTOFF)
        folder.mkdir(parents=True)
        pl.DataFrame(rows).write_parquet(folder / "20170911T100000Z.parquet")
    sold = [(*key, CUTOFF - timedelta(days=k), 5.0, 2.5, NOW) for key in units for k in range(90)]
    sold += [(*NEW.values(), CUTOFF - timedelta(days=k), 2.0, 3.0, NOW) for k in (0, 3)]
    sold += [("9", "MEAT", CUTOFF, 2.0, 3.0, NOW)]  # of a store that nothing else is known of
    sold += [("9", "TOYS", CUTOFF, 2.0, 3.0, NOW)]  # nor is there more of the item
    sold += [
        (*SELDOM.values(), CUTOFF - timedelta(days=k), 7.0, 1.0, NOW) for k in range(0, 90, 14)
    ]
    sold += [(*ENDED.values(), CUTOFF - timedelta(days=k), 7.0, 1.0, NOW) for k in range(56, 90)]
    sold += [(*NEVER.values(), CUTOFF - timedelta(days=k), 0.0, 1.0, NOW) for k in range(90)]
    pl.DataFrame(sold, schema=SALES, orient="row").write_parquet(
        state / "snapshots" / "s1" / "sales.parquet"
    )
    published = {"snapshot_id": "s1", "cutoff": CUTOFF}
    publication.write(state / "published", {}, published, NOW)
    return client


def test_it_is_forecast_from_its_like_beside_others(planner: TestClient) -> None:
    told = planner.post("/v1/forecasts", json={"series": [NEW, MEAT], "horizon": 2})
    answer = ForecastResponse.model_validate_json(told.content, strict=True)
    assert [n.method for n in answer.forecasts] == [SAID, None]
    assert [n.days[0].y_hat for n in answer.forecasts] == pytest.approx([GUESS, 20.0])
    assert answer.forecasts[0].cutoff == CUTOFF and answer.snapshot_id == "s1"


def test_a_table_of_it_names_what_it_was_lent_from(planner: TestClient) -> None:
    asked = {"series": [NEW, MEAT], "horizon": 1}
    text = planner.post("/v1/forecasts", json=asked, headers={"Accept": "text/csv"}).text
    new, known = csv.DictReader(io.StringIO(text))
    assert new["analogues"].startswith("analogues: MEAT in stores 1, times 1.7")
    assert known["analogues"] == ""


def test_a_what_if_of_it_goes_through_the_same_model(planner: TestClient) -> None:
    body = {"series": [NEW], "horizon": 2, "what_if": [{"ds": "2017-09-12", "display": 4}]}
    (node,) = planner.post("/v1/forecasts", json=body).json()["forecasts"]
    assert [d["y_hat"] for d in node["baseline"]] == pytest.approx([GUESS, GUESS])
    assert [d["y_hat"] for d in node["days"]] == pytest.approx([GUESS, GUESS + 4])


def test_drivers_of_it_sum_to_the_guess_and_it_is_said_from_what(planner: TestClient) -> None:
    answer = planner.post("/v1/explanations", json={**NEW, "ds": "2017-09-12"})
    told = Explanation.model_validate_json(answer.content, strict=True)
    assert told.y_hat == pytest.approx(GUESS) and told.changed is None
    assert told.base + sum(d.units for d in told.drivers) == pytest.approx(told.y_hat)
    assert told.analogues == SAID


def test_it_is_ordered_from_the_guess(planner: TestClient) -> None:
    body = {"series": [NEW, MEAT], "review_days": 10, "service_level": 0.9}
    guessed, known = planner.post("/v1/orders", json=body).json()["orders"]
    assert guessed["expected_demand"] == pytest.approx(10 * 10 * GUESS)  # the guess's own quantiles
    assert guessed["method"].startswith("analogues: MEAT")
    assert (known["method"], known["expected_demand"]) == (None, 200.0)


def test_what_a_planner_knows_of_it_is_taken_down(planner: TestClient) -> None:
    days = {"since": "2017-09-11", "until": "2017-09-12"}
    known = {"units": 20, "reason": "A street festival", "expires_at": "2017-09-20T00:00:00Z"}
    taken = planner.post("/v1/overrides", json={**NEW, **days, **known})
    assert taken.status_code == 201 and taken.json()["baseline"] == pytest.approx(2 * GUESS)


def test_its_history_is_what_was_sold_so_far(planner: TestClient) -> None:
    answer = planner.get("/v1/series/2/MEAT/history")
    history = History.model_validate_json(answer.content, strict=True)
    assert [d.y for d in history.days] == [2.0, 0.0, 0.0, 2.0] and history.forecasts == []


def test_one_that_sold_nothing_yet_has_an_empty_history(planner: TestClient, state: Path) -> None:
    path = state / "snapshots" / "s1" / "sales.parquet"
    others = (pl.col("store_id") != "2") | (pl.col("item_id") != "MEAT")
    pl.read_parquet(path).filter(others).write_parquet(path)
    assert planner.get("/v1/series/2/MEAT/history").json()["days"] == []
    assert NEW not in planner.get("/v1/series").json()["series"]
    (told,) = planner.post("/v1/forecasts", json={"series": [NEW]}).json()["forecasts"]
    assert told["method"] == SAID.partition(", and")[0]


def test_all_that_have_sold_lately_are_listed_and_borrowed_ones_marked(planner: TestClient) -> None:
    page = SeriesPage.model_validate(planner.get("/v1/series").json())
    cold = [SELDOM, NEW, {**MEAT, "store_id": "9"}]
    assert [s.model_dump() for s in page.cold] == cold
    assert page.count == len(page.series) == 6 and all(s in page.series for s in page.cold)
    found = planner.get("/v1/series?search=meat").json()
    assert (found["series"], found["cold"]) == ([MEAT, *cold[1:]], cold[1:])
    first = planner.get("/v1/series?limit=4").json()
    assert first["count"] == 6 and first["cold"] == cold[:1]
    last = planner.get("/v1/series", params={"cursor": first["next_cursor"]}).json()
    assert last["series"] == last["cold"] == cold[1:]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (SELDOM, "analogues: GROCERY, MEAT in store 1, and 85 days of its own"),
        ({**MEAT, "store_id": "9"}, "analogues: MEAT in stores 1, and 1 day of its own"),
    ],
)
def test_one_that_sold_seldom_or_in_a_new_store_leans_on_its_own_days(
    planner: TestClient, key: dict[str, str], said: str
) -> None:
    (told,) = planner.post("/v1/forecasts", json={"series": [key]}).json()["forecasts"]
    assert told["method"] == said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (ENDED, f"has sold nothing since {CUTOFF - timedelta(days=56)}; GET /v1/series"),
        (NEVER, "has never sold anything; GET /v1/series"),
        ({**NEW, "item_id": "MOON"}, "is not known"),
        ({**MEAT, "store_id": "8"}, "is not known"),
        ({"store_id": "9", "item_id": "TOYS"}, "has a store and an item of which the model learnt"),
    ],
)
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/forecasts", lambda key: {"series": [key]}),
        ("/v1/orders", lambda key: {"series": [key], "service_level": 0.9}),
        ("/v1/explanations", lambda key: key),
    ],
)
def test_one_that_has_ended_or_that_nothing_is_like_has_none_and_it_is_said_why(
    planner: TestClient, path: str, asked: Any, key: dict[str, str], said: str
) -> None:
    answer = planner.post(path, json=asked(key))
    assert answer.status_code == 404 and said in answer.json()["detail"]
    assert answer.json()["type"] == "urn:shelfcast:problem:unknown-series"


def test_a_series_that_nothing_is_known_of_has_no_history(planner: TestClient) -> None:
    for store_id in "28":
        assert planner.get(f"/v1/series/{store_id}/MOON/history").status_code == 404


def test_no_sum_holds_one_that_is_new(planner: TestClient) -> None:
    answer = planner.post("/v1/forecasts", json={"series": [NEW, MEAT], "level": "store"})
    assert answer.status_code == 404 and "ask for the level series" in answer.json()["detail"]


def test_without_the_online_store_it_is_said(planner: TestClient, online: Any) -> None:
    online.fails = OSError("the store is gone")
    for series in ([NEW], [NEW, MEAT]):
        assert planner.post("/v1/forecasts", json={"series": series}).json()["degraded"]
