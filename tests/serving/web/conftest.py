"""The real application with 2,000 series on a server, and a real Chromium to visit it with."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import chromium
from data import publication
from data.schema import DEMAND_FEATURES, KEYS, PLAN, QUANTILE_COLUMNS, SALES, STORE_FEATURES
from serving.routes.application import create_api
from serving.service import ForecastService

from ..conftest import CUTOFF, NOW, ArithmeticModel, OnlineRows

EVIL = ("7", "<script>document.title='owned'</script>")
FORMULA = ("8", "=cmd|' /C calc'!A0")
SHOPS = [(str(s), f"ITEM {i:02}") for s in range(100, 200) for i in range(20)]
SOLD = [EVIL, FORMULA, *SHOPS[:3], ("199", "ITEM 11")]
DAY = timedelta(days=1)


def write_state(state: Path) -> None:
    """A snapshot of 2,002 series and what flows publish with it."""
    folder = state / "snapshots" / "s1"
    folder.mkdir(parents=True)
    pl.DataFrame([EVIL, FORMULA, *SHOPS], schema=KEYS, orient="row").write_parquet(
        folder / "series.parquet"
    )
    sales = [(*k, CUTOFF - n * DAY, 5.0 + n % 7, 2.5, NOW) for k in SOLD for n in range(60)]
    pl.DataFrame(sales, schema=SALES, orient="row").write_parquet(folder / "sales.parquet")
    plan = [(*k, CUTOFF + n * DAY, 2.0, 1.0, NOW) for k in SOLD for n in range(3, 9)]
    pl.DataFrame(plan, schema=PLAN, orient="row").write_parquet(folder / "plan.parquet")
    frames = {
        "forecasts": pl.DataFrame([past(k, n) for k in SOLD for n in range(20)]),
        "plan": pl.DataFrame(plan, schema=PLAN, orient="row").drop("known_at"),
        "accuracy": pl.DataFrame(
            [row for level in ("total", "store", "department", "item") for row in scores(level)]
        ),
        "figures": pl.DataFrame(
            {
                "model": ["1"],
                "cutoff": [CUTOFF],
                "metric": ["coverage 80 inside"],
                "value": [0.79],
            }
        ),
        "decisions": pl.DataFrame([decision(n) for n in range(9)]),
        "exceptions": pl.DataFrame([concern(k, n) for n, k in enumerate([*SOLD, *SHOPS[3:39]])]),
    }
    write_last_good(state)
    about = {"snapshot_id": "s1", "cutoff": CUTOFF, "since": CUTOFF - 28 * DAY, "until": CUTOFF}
    publication.write(state / "published", frames, about, NOW)


def write_last_good(state: Path) -> None:
    """Features in the offline store, for when the online store does not answer."""
    demand = {"cutoff": str(CUTOFF), "snapshot_id": "s1", **dict.fromkeys(DEMAND_FEATURES, 10.0)}
    views = {
        "demand": [{"store_id": s, "item_id": i, **demand} for s, i in SOLD],
        "store_demand": [
            {"store_id": s, **dict.fromkeys(STORE_FEATURES, 1.0)} for s in {s for s, _ in SOLD}
        ],
    }
    for view, rows in views.items():
        folder = state / "features" / view / str(CUTOFF)
        folder.mkdir(parents=True)
        pl.DataFrame(rows).write_parquet(folder / "20170911T100000Z.parquet")


def past(key: tuple[str, str], n: int) -> dict[str, object]:
    ds = CUTOFF - n * DAY
    made = {"store_id": key[0], "item_id": key[1], "ds": ds, "step": 7, "cutoff": ds - 7 * DAY}
    known = {"model": "1", "snapshot_id": "s0", "y_hat": 8.0}
    return made | known | dict.fromkeys(QUANTILE_COLUMNS, 8.0)


def scores(level: str) -> list[dict[str, object]]:
    nodes: list[str | None] = {
        "total": [None],
        "store": [store for store, _ in SOLD],
        "department": ["DELI", "FROZEN"],
        "item": [item for _, item in SOLD],
    }[level]
    return [
        {
            "level": level,
            "store_id": node if level == "store" else None,
            "item_id": node if level == "item" else None,
            "department": node if level == "department" else None,
            "model": model,
            "weeks": 4,
            "units": 500.0,
            "value": 1250.0 - n,
            "wape": wape,
            "bias": 0.05,
            "coverage_80": None,
            "value_added": added,
        }
        for n, node in enumerate(dict.fromkeys(nodes))
        # A version is compared with naive over its own weeks: not all that naive is judged on.
        for model, wape, added in (
            ("0", 0.4, None),
            ("1", 0.2, 0.1),
            ("seasonal naive", 0.5, 0.0),
        )
    ]


def decision(n: int) -> dict[str, object]:
    seen = f'{{"n_features": 6, "drifted": "{"price_28" if n == 2 else ""}", "matured_days": 28}}'
    outcome = {"decided_at": NOW - 7 * n * DAY, "gate": "retrain", "outcome": "pass"}
    return outcome | {"reasons": ["none of 6 features drifted"], "measurements": seen}


def concern(key: tuple[str, str], n: int) -> dict[str, object]:
    kind = ("miss", "bias", "coverage", "stock-out", "promotion")[n % 5]
    what = {"store_id": key[0], "item_id": key[1], "kind": kind, "reason": "Sold more: 9 units."}
    return what | {"value": 900.0 - n, "since": CUTOFF - 7 * DAY, "until": CUTOFF}


@dataclass
class Shop:
    """The running application and the levers of the tests."""

    url: str
    online: OnlineRows
    service: ForecastService
    now: datetime = NOW


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    state = tmp_path_factory.mktemp("state")
    write_state(state)
    online = OnlineRows()
    online.rows = {key: ("s1", str(CUTOFF), 10.0) for key in [EVIL, FORMULA, *SHOPS]}
    service = ForecastService(load=ArithmeticModel, reader=lambda _settings: online.read)
    service.configure({"state_dir": str(state), "version": "1", "champion": str(state / "1")})
    found = Shop("", online, service)
    api = create_api(service, clock=lambda: found.now)
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    found.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    yield found
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@dataclass
class Visit:
    """A page, and what it asked for and complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: str = "\0"  # part of the complaints that a test provokes

    def open(self, url: str) -> Page:
        self.page.goto(url)
        expect(self.page.locator("#chart svg")).to_be_visible()
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture
def visit(browser: Browser, shop: Shop, request: pytest.FixtureRequest) -> Iterator[Visit]:
    options = getattr(request, "param", {})
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    found = Visit(context.new_page())
    found.page.on("request", lambda r: found.asked.append(r.url))
    found.page.on("pageerror", lambda e: found.complaints.append(str(e)))
    found.page.on("console", lambda m: m.type == "error" and found.complaints.append(m.text))
    yield found
    context.close()
    assert [c for c in found.complaints if found.expected not in c] == []
    assert [u for u in found.asked if not u.startswith((shop.url, "blob:"))] == []
