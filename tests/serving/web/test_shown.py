"""What the planner's page draws, says in plain words and puts on paper."""

from datetime import timedelta
from pathlib import Path

from playwright.sync_api import expect

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
    page.locator("a[data-series]").first.click()
    expect(page.locator("#series-title")).not_to_contain_text("ITEM 02")
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


def ended(route) -> dict[str, object]:
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
