"""Data of one's own, small or weekly, through the rooms of the main job and the demonstration."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import polars as pl
import pytest
from fastapi.testclient import TestClient

import demo
from benchmarks.accuracy.retailers import KINDS, Kind, settings_of
from checks import intake
from data.ledger import last_day
from data.schema import KEYS
from data.settings import Settings
from data.snapshots import snapshot
from data.warehouse import Connection, connect, known_at_morning, query, sales_as_of
from feature_repo import store
from flows import ingest
from models.assembly import training_data, write_features
from models.batch import batch_forecasts, cold_forecasts
from models.forecaster import Forecaster, save
from models.training import refit
from serving.rollout import Desk, golden
from serving.routes.application import create_api
from serving.service import ForecastService

FAST: dict[str, object] = {"objective": "poisson", "num_iterations": 40, "num_leaves": 8}
LATELY = {"series_active_days": 56}
WEEKLY = replace(KINDS[0], stores=2, items=4, days=588, settings=KINDS[0].settings | LATELY)
SUNDAY = 7
SMALL = replace(KINDS[1], stores=4, items=6, days=120)
Make = Callable[[Kind], Settings]


def load(con: Connection, settings: Settings, until: date, path: str = "") -> intake.Intake:
    """Everything up to a day as one delivery on the morning after it, or a file an hour later."""
    as_of = known_at_morning(until, settings.timezone) + timedelta(hours=bool(path))
    last = None if path else until
    return intake.take(con, settings, source="csv", path=path, since=None, until=last, as_of=as_of)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a retailer's files; the settings that forecast from them are the environment's too."""

    def make(kind: Kind) -> Settings:
        given = settings_of(kind, tmp_path / "files")
        settings = Settings(state_dir=tmp_path / "state", _env_file=None, **given)
        for name in ("frequency", "horizon", "first_cutoff", "series_active_days"):
            monkeypatch.setenv(f"SHELFCAST_{name.upper()}", str(getattr(settings, name)))
        monkeypatch.setenv("SHELFCAST_CLOSED_DAYS", "[]")
        return settings

    return make


def add(settings: Settings, rows: list[tuple[str, str, int]]) -> None:
    """Adds weeks of ten units to the retailer's file, so many weeks before the first cutoff."""
    sold = pl.read_csv(settings.source_path, try_parse_dates=True)
    cutoff, ten = settings.first_cutoff, {"y": 10, "price": 2.5}
    more = [
        {"store_id": s, "item_id": i, "ds": cutoff - timedelta(weeks=k), **ten} for s, i, k in rows
    ]
    pl.concat([sold, pl.DataFrame(more)], how="diagonal_relaxed").write_csv(settings.source_path)


def serve(settings: Settings) -> TestClient:
    """The API with a model of the newest snapshot, trained through the feature store."""
    cutoff = settings.first_cutoff
    with connect(settings) as con:
        load(con, settings, cutoff)
        as_of = known_at_morning(cutoff, settings.timezone)
        taken = snapshot(con, settings, as_of, settings.horizon)
        write_features(settings, con, taken.folder)
        versions = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=None)
    store.apply(settings)
    store.materialize(settings, cutoff)
    trained = refit(training_data(settings, taken.folder, versions, plan), FAST, seed=1)
    manifest = replace(trained.manifest, version="1")
    champion = save(settings.state_dir / "champions" / "1", trained.booster_text, manifest)
    service = ForecastService()
    config = {"state_dir": str(settings.state_dir), "version": "1", "champion": str(champion)}
    service.configure(config)
    return TestClient(create_api(service), base_url="http://127.0.0.1")


def test_weeks_go_from_a_file_through_the_feature_store_to_answers_and_the_demo(
    own: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own(WEEKLY)
    add(settings, [("s0", "d0|late", k) for k in (0, 1)] + [("s1", "d0|gone", k) for k in (9, 10)])
    (settings.state_dir / "champions").mkdir(parents=True)
    client = serve(settings)
    weeks = settings.steps.ahead(settings.first_cutoff, 8)
    (folder,) = settings.snapshots_dir.iterdir()
    champion = Forecaster.load(settings.champions_dir / "1")
    tried = golden(Desk(settings), settings.champions_dir / "1", None, folder.name)
    assert tried.faults == () and tried.units > 0
    issued = batch_forecasts(settings, str(folder), champion)
    series = issued.select(KEYS).row(0, named=True)
    is_it = pl.all_horizontal(pl.col(k) == v for k, v in series.items())
    batch = issued.filter(is_it & (pl.col("model") == "1"))
    assert batch["ds"].to_list() == weeks
    (answer,) = client.post("/v1/forecasts", json={"series": [series]}).json()["forecasts"]
    assert [d["y_hat"] for d in answer["days"]] == pytest.approx(batch["y_hat"].to_list())

    cold = cold_forecasts(settings, str(folder), champion)
    assert cold.series + cold.without + issued.select(KEYS).n_unique() == 10
    late = {"store_id": "s0", "item_id": "d0|late"}
    made = cold.rows.filter(pl.col("item_id") == "d0|late")
    (guessed,) = client.post("/v1/forecasts", json={"series": [late]}).json()["forecasts"]
    assert [d["y_hat"] for d in guessed["days"]] == pytest.approx(made["y_hat"].to_list())
    assert {guessed["method"]} == set(made["method"])
    assert guessed["method"].endswith("in store s0, and 8 days of its own")
    gone = client.post("/v1/forecasts", json={"series": [{"store_id": "s1", "item_id": "d0|gone"}]})
    assert gone.status_code == 404 and "has sold nothing since" in gone.json()["detail"]

    order = {"series": [{**series, "on_hand": 0}], "lead_time_days": 2, "service_level": 0.9}
    assert client.post("/v1/orders", json=order).json()["until"] == str(weeks[1])

    monkeypatch.setattr(
        demo.httpx, "post", lambda url, **asked: client.post(url, json=asked["json"])
    )
    demo.show_forecast(settings, series)
    said = capsys.readouterr().out
    assert "units a week after" in said and f"{weeks[0]}" in said and "  8 weeks  " in said


@pytest.mark.parametrize(("kind", "bad"), [(SMALL, 0), (replace(SMALL, items=9), 1), (WEEKLY, 0)])
def test_the_demos_redelivery_of_a_small_day_is_taken(
    own: Make, kind: Kind, bad: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own(kind)
    asked = settings.first_cutoff + demo.PLANTED
    with connect(settings) as con:
        load(con, settings, asked)
    path, revised, planted = demo.plant(settings)
    assert planted == bad
    with connect(settings) as con:
        taken = load(con, settings, asked, str(path))
    assert taken.publication is not None
    assert (taken.publication.rows_published, taken.publication.rows_quarantined) == (1, bad)
    demo.show_knowledge(settings, revised)
    assert (
        f"{revised['y']:g} units as known before, {revised['y'] + 25:g}" in capsys.readouterr().out
    )


def test_the_demo_delivers_the_last_day_that_had_sales_again(own: Make) -> None:
    settings = own(SMALL)
    closed = settings.first_cutoff + demo.PLANTED
    sold = pl.read_csv(settings.source_path, try_parse_dates=True)
    sold.filter(pl.col("ds") != closed).write_csv(settings.source_path)
    with connect(settings) as con:
        load(con, settings, closed)
    assert demo.plant(settings)[1]["ds"] == closed - timedelta(days=1)


def test_days_on_which_nobody_sold_are_left_out_and_the_next_one_is_loaded(
    own: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own(SMALL)
    monkeypatch.setattr(ingest, "show", lambda *_: None)
    sold = pl.read_csv(settings.source_path, try_parse_dates=True)
    open_days = sold.filter(pl.col("ds").dt.weekday() != SUNDAY)
    open_days.write_csv(settings.source_path)
    saturday = settings.first_cutoff + timedelta(days=6)
    ingest.deliver.fn(settings, "csv", "", None, saturday - timedelta(days=1))
    for expected in (saturday, saturday + timedelta(days=2)):
        ((since, last),), _ = ingest.due_days.fn(settings, "csv", None)
        assert since == last == expected
        assert ingest.deliver.fn(settings, "csv", "", since, last)["result"] == "published"
    days = open_days.filter(pl.col("ds") > last)["ds"].unique().sort().to_list()
    rest = [last for _, last in ingest.due_days.fn(settings, "csv", date.max)[0]]
    assert rest == [day for day in days if not settings.steps.is_closed(day)]


@pytest.fixture
def flow_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], None]:
    """Makes the flow `ingest` run without Prefect, with settings of one's own."""

    def patch(settings: Settings) -> None:
        for name in ("due_days", "deliver"):
            monkeypatch.setattr(ingest, name, getattr(ingest, name).fn)
        for name in ("show", "audit_sales", "create_table_artifact", "get_run_logger"):
            monkeypatch.setattr(ingest, name, MagicMock())
        monkeypatch.setattr(ingest, "writing", nullcontext)
        monkeypatch.setattr(ingest, "Settings", lambda: settings)

    return patch


def test_a_day_that_comes_late_is_named_when_it_is_passed_over_and_loaded_once_it_is_there(
    own: Make, flow_of: Callable[[Settings], None]
) -> None:
    settings = own(SMALL)
    flow_of(settings)
    late, then, today = settings.steps.ahead(settings.first_cutoff, 3)
    sold = pl.read_csv(settings.source_path, try_parse_dates=True)
    fuel = pl.col("ds") == late  # sells, while the shop is closed
    excluded = sold.with_columns(exclusion=pl.when(fuel).then(pl.lit("fuel")))
    excluded.write_csv(settings.source_path)
    ingest.ingest.fn(until=settings.first_cutoff)
    said = ingest.ingest.fn(until=late).message  # type: ignore[attr-defined]
    assert said == f"no rows of {late}: nothing to load"
    said = ingest.ingest.fn().message  # type: ignore[attr-defined]
    assert said.startswith("1 delivery: ") and said.endswith(f"; no rows of {late}, passed over")

    sold.write_csv(settings.source_path)
    loaded = ingest.ingest.fn().data  # type: ignore[attr-defined]
    assert [d["until"] for d in loaded] == [str(today), str(late)]
    assert ingest.due_days(settings, "csv", today) == ([], [])
    with connect(settings) as con:
        before, after = (
            set(sales_as_of(con, known_at_morning(ds, settings.timezone))["ds"])
            for ds in (today, today + timedelta(days=1))
        )
    assert {then, today} <= before and late not in before and late in after


@pytest.mark.parametrize("kind", [SMALL, WEEKLY])
def test_live_features_hold_their_own_day_and_no_day_is_loaded_before_it_is_over(
    own: Make, kind: Kind, flow_of: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own(kind).model_copy(update={"mode": "live", "horizon": 8, "closed_days": ()})
    flow_of(settings)
    steps = settings.steps.ahead(settings.first_cutoff, 5)
    now = known_at_morning(settings.first_cutoff, settings.timezone)
    monkeypatch.setattr(ingest, "clock", lambda _, con: (last_day(con), now))
    ingest.ingest.fn()
    # At ten past six, at nine, and after an outage: three steps come hours late, two of them more.
    for loaded, hours in ((steps[:1], 1 / 6), (steps[1:2], 3), (steps[2:], 3)):
        now = known_at_morning(loaded[-1], settings.timezone) + timedelta(hours=hours)
        assert [d["until"] for d in ingest.ingest.fn().data] == [str(ds) for ds in loaded]  # type: ignore[attr-defined]
        assert ingest.ingest.fn().data == []  # type: ignore[attr-defined]
        with connect(settings) as con:
            taken = snapshot(con, settings, now, settings.horizon)
            write_features(settings, con, taken.folder)
            sold = sales_as_of(con, now).filter(pl.col("ds") == loaded[-1])
        (file,) = (settings.features_dir / "demand" / str(loaded[-1])).glob("*.parquet")
        rows = pl.read_parquet(file)
        assert taken.cutoff == loaded[-1]
        assert rows["lag_1"].sum() == sold.join(rows, on=KEYS, how="semi")["y"].sum() > 0
        assert rows["days_since_sale"].min() == 0
