"""What the planner's page draws, says in plain words and puts on paper."""

import zipfile
from dataclasses import asdict
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from checks.gates import decide_promotion

from ..conftest import CUTOFF
from .conftest import Shop, Visit

JARGON = (
    "cumulative",
    "drifted; loss",
    "WRMSSE",
    "WAPE",
    "pinball",
    "quantile",
    "Error)",
    "deployment",
    "feature store",
)
ITEM = "?store=100&item=ITEM+01"


def test_the_chart_draws_ranges_and_promotions_and_the_head_tells_the_decision(
    visit: Visit, shop: Shop
) -> None:
    page = visit.open(shop.url + ITEM)
    for path in ("path.band80", "path.band95", "path.promotion", "path.expected", "path.sold"):
        drawn = page.locator(f"#chart svg {path}").get_attribute("d") or ""
        assert drawn.count("L") + drawn.count("z") > 5, path
    expect(page.locator("#fresh")).to_contain_text("last decision: keep")


def test_an_override_is_drawn_while_it_counts_and_downloaded(visit: Visit, shop: Shop) -> None:
    page = visit.open(f"{shop.url}?store=100&item=ITEM+02")
    drawn = page.locator("#chart svg path.set")
    assert drawn.get_attribute("d") == ""
    page.get_by_role("spinbutton", name="Units a day").fill("77")
    page.get_by_label("To", exact=True).last.fill(str(CUTOFF + timedelta(days=1)))
    page.get_by_label("In a sentence").fill("A feast in the street")
    page.locator("#override-form").get_by_role("button", name="Set").click()
    expect(page.locator("#chart .legend")).to_contain_text("Set by override")
    assert (drawn.get_attribute("d") or "").count("M") == 1
    expect(page.locator("#override .done")).to_contain_text("77 units a day")
    page.locator("a[data-series]").first.click()
    expect(page.locator("#series-title")).not_to_contain_text("ITEM 02")
    expect(page.locator("#override .done")).to_have_count(0)
    expect(drawn).to_have_attribute("d", "")
    page.go_back()
    expect(page.locator("#series-title")).to_contain_text("ITEM 02")
    expect(drawn).not_to_have_attribute("d", "")
    with page.expect_download() as text:
        page.locator("#override-tools").get_by_role("button", name="CSV").click()
    content = Path(text.value.path()).read_text(encoding="utf-8-sig")
    assert "100,ITEM 02," in content and ",77," in content and "A feast in the street" in content
    page.route("**/v1/overrides", lambda route: route.fulfill(json=ended(route)))
    page.reload()
    expect(page.locator("#overrides tbody")).to_contain_text(", over")
    assert page.locator("#chart svg path.set").get_attribute("d") == ""


def ended(route: Route) -> dict[str, Any]:
    told = route.fetch().json()
    return {**told, "overrides": [{**o, "active": False} for o in told["overrides"]]}


def test_what_is_read_first_has_no_jargon_and_the_figures_are_a_click_away(
    visit: Visit, shop: Shop
) -> None:
    shop.online.fails = OSError("database is locked")
    try:
        page = visit.open(shop.url + ITEM)
        expect(page.locator("#banner")).to_contain_text("Not up to date.")
        shown = page.locator("body").inner_text()
        assert [word for word in JARGON if word.lower() in shown.lower()] == []
        page.locator("#banner summary").click()
        expect(page.locator("#banner details")).to_contain_text("The feature store does not")
        page.locator("#decisions summary, .decisions summary").first.click()
        expect(page.locator(".decisions details").first).to_contain_text("none of 6 features")
    finally:
        shop.online.fails = None


def test_paper_has_bars_colours_and_what_the_order_rests_on(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url + ITEM)
    expect(page.locator("#orders-body .big")).to_be_visible()
    asked = page.locator("#orders-body .print-only")
    expect(asked).to_be_hidden()
    page.emulate_media(media="print")
    expect(asked).to_contain_text("Delivery takes 2 days; Orders are placed every 7 days")
    expect(page.locator("#orders-form")).to_be_hidden()
    style = "getComputedStyle(document.querySelector('.track i')).printColorAdjust"
    assert page.evaluate(style) == "exact"


def downloaded(page: Page, section: str, kind: str) -> bytes:
    with page.expect_download() as file:
        page.locator(f"#{section}-tools").get_by_role("button", name=kind).click()
    return Path(file.value.path()).read_bytes()


def test_accuracy_is_told_by_department_and_taken_along(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url + ITEM)
    page.locator("#accuracy").get_by_role("button", name="By department").click()
    rows = page.locator("#accuracy tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Deli")
    expect(rows.first).to_contain_text("20.0")  # units off in 100
    expect(rows.first).to_contain_text("▲ 10.0")  # better than naive
    expect(rows.first).to_contain_text("+5.0 too high")
    lines = downloaded(page, "accuracy", "CSV").decode("utf-8-sig").splitlines()
    assert lines[0].startswith("department,units sold,value") and lines[1].startswith("DELI,500,")
    with zipfile.ZipFile(BytesIO(downloaded(page, "accuracy", "Excel"))) as book:
        assert b"FROZEN" in book.read("xl/sharedStrings.xml")


def as_weekly(route: Route) -> None:
    """The forecast with one day a week."""
    told = route.fetch().json()
    told["forecasts"][0]["days"] = told["forecasts"][0]["days"][6::7]
    route.fulfill(json=told)


def test_until_a_new_model_has_met_its_sales_the_newest_before_it_is_judged(
    visit: Visit, shop: Shop
) -> None:
    def promoted(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "model_version": "2"})

    visit.page.route("**/v1/status", promoted)
    visit.page.route("**/v1/forecasts", as_weekly)
    page = visit.open(shop.url + ITEM)
    accuracy = page.locator("#accuracy")
    expect(accuracy.locator("tbody tr")).to_have_count(4)  # each store once
    expect(accuracy).to_contain_text("of model 1: none of model 2 has met its sales yet")
    expect(accuracy).to_contain_text("repeats the same week of last year")


EVIDENCE: dict[str, Any] = {
    "ratio": 0.97,
    "ratio_upper": 0.99,
    "origins": 6,
    "refitted_origins": 0,
    "slices": {"department MEAT": (1.0, 0.9)},
    "paired_bias": 0.0,
    "champion_bias": 0.0,
    "moved": 0.1,
    "coverage_80": 0.8,
    "bias": 0.0,
    "naive_ratio": 0.7,
    "has_champion": True,
    "champion_repeats": False,
    "champion_refused": "",
}


def promotion(**found: Any) -> dict[str, Any]:
    decision = decide_promotion(**{**EVIDENCE, **found})
    return {**asdict(decision), "decided_at": "2017-09-11T10:00:00Z"}


def test_what_was_decided_of_new_models_is_told_as_it_was(visit: Visit, shop: Shop) -> None:
    failed = {**promotion(), "outcome": "hold", "reasons": ["shadow: p95 is 900 ms, limit 250"]}
    told = {
        "Yes It forecasts better than the one that served then.": promotion(),
        "Yes It knows newer sales and forecasts at most 1 % worse": promotion(
            ratio=0.999, ratio_upper=1.005, by_age=True
        ),
        "Yes It forecasts better than the naive forecast; there was no": promotion(
            has_champion=False
        ),
        "No It is not surely better": promotion(ratio_upper=1.2),
        "No Its figures say why; what served then stays.": failed,
        "Cannot tell The evidence is not enough to tell": promotion(slices={}),
    }
    answer = {"published_at": "2017-09-11T12:00:00Z", "decisions": list(told.values())}
    visit.page.route("**/v1/decisions*", lambda route: route.fulfill(json=answer))
    rows = visit.open(shop.url + ITEM).locator(".decisions li")
    for n, words in enumerate(told):
        expect(rows.nth(n)).to_contain_text(words, use_inner_text=True)


def test_exceptions_are_taken_along_as_they_are_shown(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url + ITEM)
    page.locator("#kind").select_option("promotion")
    expect(page.locator(".exceptions li").first).to_contain_text("Promotion ahead")
    expect(page.locator(".exceptions li")).to_have_count(6)
    lines = downloaded(page, "exceptions", "CSV").decode("utf-8-sig").splitlines()
    assert len(lines) == 1 + 6 and all(",Promotion ahead," in line for line in lines[1:])
    with zipfile.ZipFile(BytesIO(downloaded(page, "exceptions", "Excel"))) as book:
        assert b"Promotion ahead" in book.read("xl/sharedStrings.xml")


SCORED = {
    "store_id": "100",
    "item_id": "ITEM 01",
    "since": "2017-09-01",
    "until": "2017-09-03",
    "units": 12.0,
    "baseline": 8.0,
    "reason": "Weather: hot",
    "author": "ann",
    "active": False,
    "override_id": "o",
    "created_at": "2017-08-31T08:00:00Z",
    "expires_at": "2017-09-04T00:00:00Z",
}


def test_an_override_whose_days_are_over_says_whether_it_was_worth_it(
    visit: Visit, shop: Shop
) -> None:
    worth = {**SCORED, "actual": 36.0, "value_added": 9.0}
    told = [worth, {**SCORED, "actual": 20.0, "value_added": -4.0}]
    answer = {"published_at": "2017-09-11T12:00:00Z", "overrides": told}
    visit.page.route("**/v1/overrides", lambda route: route.fulfill(json=answer))
    page = visit.open(shop.url + ITEM)
    rows = page.locator("#overrides tbody tr")
    expect(rows.nth(0)).to_contain_text("yes, 9 units nearer")
    expect(rows.nth(1)).to_contain_text("no, 4 units farther off")
    expect(page.locator(".stairs")).to_contain_text("2 are over: 5 units nearer than the forecast")


def test_an_order_shows_what_is_for_safety_and_how_it_is_reckoned(visit: Visit, shop: Shop) -> None:
    page = visit.open(shop.url + ITEM)
    expect(page.locator("#orders .stock")).to_contain_text("Kept for safety")
    page.locator("#orders-body summary").click()
    expect(page.locator("#orders-body details")).to_contain_text("Model 1 arithmetic.")
    expect(page.locator("#orders-body details")).to_contain_text("only 5 times in 100")


LENT = "ITEM 01 in stores 3, 4, 7 and 2 more, times 0.8 to 1.7 for the size of store 100"
BORROWED = f"analogues: {LENT}"


def as_new(route: Route) -> None:
    """The answer about a series as it is about one without a history."""
    told, asked = route.fetch().json(), route.request.url
    if "/v1/series?" in asked:
        told["cold"] = [s for s in told["series"] if s["item_id"] == "ITEM 01"]
    elif asked.endswith("/v1/exceptions?limit=6"):
        told["exceptions"][0] |= {"kind": "new", "reason": "New: sold first on 2017-09-08."}
    elif asked.endswith("/v1/explanations"):
        told["analogues"] = BORROWED
    else:
        told["forecasts" if "forecasts" in told else "orders"][0]["method"] = BORROWED
    route.fulfill(json=told)


def test_a_new_series_says_everywhere_whose_sales_it_borrowed(visit: Visit, shop: Shop) -> None:
    for path in ("series?*", "exceptions?limit=6", "explanations", "forecasts", "orders"):
        visit.page.route(f"**/v1/{path}", as_new)
    page = visit.open(shop.url + ITEM)
    expect(page.locator("#totals")).to_contain_text(f"is borrowed from {LENT}")
    expect(page.locator("#totals")).to_contain_text("likely range is wider")
    expect(page.locator("#orders-body")).to_contain_text(f"is borrowed from {LENT}")
    expect(page.locator("#why-body")).to_contain_text(f"is that of {LENT}")
    expect(page.locator(".exceptions li").first).to_contain_text("New")
    page.locator("#find").fill("100 item 01")
    expect(page.locator("#found .tag")).to_have_text("borrowed")


@pytest.mark.parametrize("days", [1, 5])
def test_sales_that_do_not_come_in_are_told_above_everything(
    visit: Visit, shop: Shop, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    live = shop.service.settings.model_copy(update={"mode": "live"})
    monkeypatch.setattr(shop.service._source, "settings", live)
    page = visit.open(shop.url + ITEM)
    expect(page.locator("#banner")).to_have_text("")
    monkeypatch.setattr(shop, "now", shop.now + timedelta(days=days + 1))
    page = visit.open(shop.url + ITEM)
    late = "Sales are a day late." if days == 1 else "Sales are 5 days late."
    expect(page.locator("#banner")).to_contain_text(late)
    expect(page.locator("#banner")).to_contain_text("The newest are of 10 Sept 2017")
