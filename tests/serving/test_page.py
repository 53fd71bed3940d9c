"""The planner's page in a real Chromium, on the real application with 2,000 series."""

import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.browser import chromium
from data import publication
from data.schema import DEMAND_FEATURES, KEYS, PLAN, QUANTILE_COLUMNS, SALES, STORE_FEATURES
from serving import keys
from serving.routes.application import create_api
from serving.service import ForecastService

from .conftest import CUTOFF, NOW, ArithmeticModel, OnlineRows

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
        "accuracy": pl.DataFrame([*scores("total"), *scores("store"), *scores("item")]),
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
    nodes = {"total": [None], "store": [k[0] for k in SOLD], "item": [k[1] for k in SOLD]}[level]
    return [
        {
            "level": level,
            "store_id": node if level == "store" else None,
            "item_id": node if level == "item" else None,
            "department": None,
            "model": model,
            "weeks": 4,
            "units": 500.0,
            "value": 1250.0 - n,
            "wape": wape,
            "bias": 0.05,
            "coverage_80": None,
            "value_added": 0.1,
        }
        for n, node in enumerate(dict.fromkeys(nodes))
        for model, wape in (("1", 0.2), ("seasonal naive", 0.3))
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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    state = tmp_path_factory.mktemp("state")
    write_state(state)
    online = OnlineRows()
    online.rows = {key: ("s1", str(CUTOFF), 10.0) for key in [EVIL, FORMULA, *SHOPS]}
    service = ForecastService(load=ArithmeticModel, reader=lambda _settings: online.read)
    service.configure({"state_dir": str(state), "version": "1", "champion": str(state / "1")})
    api = create_api(service, clock=lambda: NOW)
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield Shop(
        f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/", online, service
    )
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


def test_exceptions_come_first_and_the_costliest_series_is_shown(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url)
    rows = page.locator(".exceptions li")
    expect(rows).to_have_count(6)
    expect(rows.first).to_contain_text("900")
    expect(page.locator("h2").first).to_contain_text("Store 7")
    expect(page.locator("#fresh")).to_contain_text("Sales up to 10 Sept 2017 · model 1")
    headings = page.locator("h1, h2").all_text_contents()
    assert headings[0] == "What needs a look" and len(headings) == 7
    page.get_by_role("button", name="Show all 42").click()
    expect(rows).to_have_count(42)
    page.locator("#kind").select_option("bias")
    expect(rows).to_have_count(9)


def test_a_name_from_the_data_is_never_html_and_never_runs(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url)
    expect(page.locator("#series-title")).to_contain_text("<script>")
    assert page.title() != "owned"
    assert page.evaluate("document.body.querySelectorAll('script').length") == 0
    page.locator("#accuracy").get_by_role("button", name="By item").click()
    expect(page.locator("#accuracy tbody")).to_contain_text("<script>")
    page.locator("#find").fill("script")
    expect(page.locator("#found")).to_contain_text("<script>")
    assert page.title() != "owned"


def test_a_series_is_found_among_two_thousand_by_keyboard_alone(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url)
    page.keyboard.press("/")
    page.keyboard.type("199 item 1")
    options = page.locator("#found [role=option]:not(.note)")
    expect(options).to_have_count(11)
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    chosen = page.locator("#find").get_attribute("aria-activedescendant")
    assert chosen == options.nth(1).get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.locator("#series-title")).to_have_text("Store 199 · ITEM 11")
    assert "store=199&item=ITEM+11" in page.url
    page.go_back()
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    expect(page.locator("#found")).to_contain_text("No series matches")
    page.keyboard.press("Escape")
    expect(page.locator("#found")).to_be_hidden()


def test_the_model_and_its_decisions_are_told_with_ways_on(visit: Visit, shop: Shop) -> None:
    folder = shop.service.settings.state_dir / "replay" / "2017-05-21-abc"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text('{"sentence": "Choose `gated`: it forecast best."}')
    page = visit.open(shop.url)
    model = page.locator("#model")
    expect(model).to_contain_text("none of 6 features drifted")
    expect(model).to_contain_text("The past replayed: Choose gated: it forecast best.")
    expect(model.locator(".timeline li")).to_have_count(9)
    for name, end in (("Prefect", "4200"), ("MLflow", "5000"), ("replayed", "/key/replay")):
        address = model.get_by_role("link", name=name).get_attribute("href")
        assert str(address).endswith(end)


def test_an_address_opens_its_series(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#series-title")).to_have_text("Store 100 · ITEM 01")
    expect(page.locator("#totals")).to_contain_text("28 days")
    page.locator(".exceptions a").nth(1).click()
    expect(page.locator("#series-title")).to_contain_text("=cmd")
    page.go_back()
    expect(page.locator("#series-title")).to_have_text("Store 100 · ITEM 01")


def test_the_chart_is_read_by_keyboard_and_as_a_table(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    page.locator(".cursor").focus()
    expect(page.locator(".tip")).to_contain_text("Mon, 11 Sept 2017")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip")).to_contain_text("Tue, 12 Sept 2017")
    assert "Expected" in str(page.locator(".cursor").get_attribute("aria-valuetext"))
    page.locator("#lead").select_option("7")
    expect(page.locator(".legend")).to_contain_text("Forecast made earlier")
    page.get_by_text("Every figure as a table").click()
    table = page.locator("#figures tbody")
    expect(table.locator("tr")).to_have_count(56 + 28)
    expect(table).to_contain_text("Sun, 10 Sept 2017")
    page.locator("#span").select_option("365")
    expect(table.locator("tr")).to_have_count(60 + 28)


def test_a_moved_slider_shows_the_difference_and_what_it_is_not(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#whatif")).to_contain_text("Model association, not cause")
    slider = page.get_by_label("Products on display")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".delta")).to_contain_text("+")
    expect(page.locator(".delta")).to_contain_text("units")
    assert page.locator(".line.whatif").get_attribute("d")
    expect(page.locator(".legend")).to_contain_text("What if")
    page.get_by_role("button", name="As planned").click()
    expect(page.locator(".legend")).not_to_contain_text("What if")


def test_a_slider_beyond_what_was_seen_warns(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    page.get_by_label("Products on display").press("End")
    expect(page.locator("#whatif .warning")).to_contain_text("outside of what the model has seen")


def test_an_order_follows_the_wanted_service_and_the_stock(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#orders .big")).to_contain_text("95 % of the time")
    before = page.locator("#orders .big strong").text_content()
    page.get_by_label("On hand and on order").fill("40")
    expect(page.locator("#orders .big strong")).not_to_have_text(str(before))
    page.get_by_label("On hand and on order").fill("100000")
    expect(page.locator("#orders .big")).to_contain_text("Order nothing")
    page.get_by_text("Or weigh two costs instead").click()
    page.get_by_label("A missing unit costs").fill("3")
    page.get_by_label("A unit left over costs").fill("1")
    expect(page.locator("#orders .big")).to_contain_text("75 % of the time")
    page.get_by_label("Delivery takes").fill("90")
    expect(page.locator("#orders .warning")).to_contain_text("Delivery takes")


def test_drivers_are_told_for_all_days_and_for_one(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#why")).to_contain_text("expected from 11 Sept to 8 Oct")
    expect(page.locator("#why .steps").first).to_contain_text("This forecast")
    page.locator("#why-day").select_option("2017-09-13")
    expect(page.locator("#why")).to_contain_text("expected on 13 Sept")


def test_an_override_is_kept_with_its_reason(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    form = page.locator("#override-form")
    form.get_by_role("button", name="Set").click()
    expect(page.locator("#override .warning")).to_contain_text("Units a day")
    page.get_by_role("spinbutton", name="Units a day").fill("55")
    page.get_by_label("In a sentence").fill("<b>Street festival</b>")
    form.get_by_role("button", name="Set").click()
    expect(page.locator("#override .done")).to_contain_text("55 units a day")
    expect(page.locator("#overrides tbody")).to_contain_text("<b>Street festival</b>")
    page.reload()
    expect(page.locator("#overrides tbody")).to_contain_text("55")


def test_forecasts_from_the_last_good_data_say_so_above_everything(
    visit: Visit, shop: Shop
) -> None:
    shop.online.fails = OSError("database is locked")
    try:
        page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
        expect(page.locator("#banner")).to_contain_text("Not up to date.")
        expect(page.locator("#banner")).to_contain_text("up to 10 Sept 2017")
    finally:
        shop.online.fails = None


def test_downloads_hold_what_is_shown_and_no_formula(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=8&item=%3Dcmd%7C%27+%2FC+calc%27%21A0")
    expect(page.locator("#series-title")).to_contain_text("=cmd")
    files = page.locator("#series-files")
    with page.expect_download() as text:
        files.get_by_role("button", name="CSV").click()
    lines = Path(text.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + 56 + 28
    assert lines[1].startswith("8,'=cmd|' /C calc'!A0,2017-07-")
    assert lines[0].startswith("store,item,day,units sold,units expected")
    with page.expect_download() as excel:
        files.get_by_role("button", name="Excel").click()
    assert excel.value.suggested_filename.endswith(".xlsx")
    with zipfile.ZipFile(BytesIO(Path(excel.value.path()).read_bytes())) as book:
        assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")
        assert b"=cmd" in book.read("xl/sharedStrings.xml")


def test_order_drivers_and_decisions_are_downloaded_as_well(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    for section, first, shown in (
        ("orders", "store,item,order units", "100,ITEM 01,"),
        ("why", "what,units,from,to", "This forecast,"),
        ("model", "when,question,answer", "Retrain?,"),
    ):
        with page.expect_download() as text:
            page.locator(f"#{section}-tools").get_by_role("button", name="CSV").click()
        content = Path(text.value.path()).read_text(encoding="utf-8-sig")
        assert content.startswith(first) and shown in content, section


def test_a_series_without_history_says_whose_it_borrowed(visit: Visit, shop: Shop) -> None:
    def as_new(route: Route) -> None:
        answer = route.fetch().json()
        answer["forecasts"][0]["method"] = "analogues: ITEM 01 in stores 3, 4"
        route.fulfill(json=answer)

    visit.page.route("**/v1/forecasts", as_new)
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#totals")).to_contain_text("no history of its own")
    expect(page.locator("#totals")).to_contain_text("analogues: ITEM 01 in stores 3, 4")


def test_a_part_that_fails_says_so_and_can_be_tried_again(visit: Visit, shop: Shop) -> None:
    visit.expected = "503"
    broken = {"on": True}

    def answer(route) -> None:
        detail = '{"title": "Service Unavailable", "detail": "Run the forecast deployment."}'
        if broken["on"]:
            route.fulfill(status=503, body=detail, content_type="application/problem+json")
        else:
            route.continue_()

    visit.page.route("**/v1/accuracy**", answer)
    visit.page.route("**/history**", answer)
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    expect(page.locator("#accuracy [role=alert]")).to_contain_text("Run the forecast deployment.")
    expect(page.locator("#totals .warning")).to_contain_text("What was sold can't be shown")
    broken["on"] = False
    page.locator("#accuracy").get_by_role("button", name="Try again").click()
    expect(page.locator("#accuracy tbody tr").first).to_be_visible()


def test_a_server_that_is_gone_is_named(visit: Visit, shop: Shop) -> None:
    visit.expected = "ERR_FAILED"
    visit.page.route("**/v1/**", lambda route: route.abort())
    visit.page.goto(shop.url)
    expect(visit.page.locator("#exceptions [role=alert]")).to_contain_text("does not answer")


def test_an_unknown_series_is_told_without_the_rest_failing(visit: Visit, shop: Shop) -> None:
    visit.expected = "404"
    visit.page.goto(f"{shop.url}?store=nowhere&item=nothing")
    expect(visit.page.locator("#totals [role=alert]")).to_contain_text("nowhere")
    expect(visit.page.locator(".exceptions li")).to_have_count(6)


def test_a_server_with_keys_asks_for_one_and_keeps_it_for_the_tab(visit: Visit, shop: Shop) -> None:
    visit.expected = "401"
    key = keys.create(shop.service.settings, "planner", "read")
    try:
        visit.page.goto(shop.url)
        visit.page.get_by_label("This server asks for a key.").fill(key)
        visit.page.get_by_role("button", name="Use it in this tab").click()
        expect(visit.page.locator("#chart svg")).to_be_visible()
        visit.open(f"{shop.url}?store=100&item=ITEM+01")
        assert visit.page.evaluate("localStorage.length") == 0
        assert key not in " ".join(visit.asked)
    finally:
        shop.service.settings.api_keys_path.unlink()


PHONE = {"viewport": {"width": 390, "height": 844}}


def test_the_docs_send_with_a_key_and_with_the_ids_of_a_path(visit: Visit, shop: Shop) -> None:
    page = visit.page
    key = keys.create(shop.service.settings, "reader", "read")
    visit.expected = "401"
    try:
        page.goto(f"{shop.url}docs")
        history = page.locator("details", has=page.get_by_text("/history")).first
        history.locator("summary").first.click()
        history.get_by_role("textbox", name="store_id").fill("8")
        history.get_by_role("textbox", name="item_id").fill(FORMULA[1])
        history.get_by_role("button", name="Send").click()
        expect(history.locator(".bad")).to_contain_text("401")
        page.get_by_label("API key").fill(key)
        page.get_by_label("API key").blur()
        history.get_by_role("button", name="Send").click()
        expect(history.locator(".ok")).to_contain_text("200")
        expect(history.locator("pre")).to_contain_text(FORMULA[1])
    finally:
        shop.service.settings.api_keys_path.unlink()


@pytest.mark.parametrize(
    "look",
    [{}, {"color_scheme": "dark"}, {"color_scheme": "dark", **PHONE}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_serious(browser: Browser, shop: Shop, look: dict[str, object]) -> None:
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **look})
    page = Visit(context.new_page()).open(f"{shop.url}?store=100&item=ITEM+01")
    page.get_by_text("Every figure as a table").click()
    page.keyboard.press("/")
    found = Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["target"] for n in v["nodes"]]) for v in serious] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
