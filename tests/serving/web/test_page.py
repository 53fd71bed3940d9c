"""The planner's page in a real Chromium, on the real application with 2,000 series."""

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from serving import keys

from .conftest import FORMULA, Shop, Visit


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
    shown = page.locator("#series-title").text_content()
    page.locator("#find").fill("199 item 1")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("#series-title")).to_have_text(str(shown))


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
    page.get_by_label("In a sentence").fill("A fair")
    page.locator("#lead").select_option("7")
    expect(page.locator(".legend")).to_contain_text("Forecast made earlier")
    expect(page.locator(".legend")).to_contain_text("What if")
    expect(page.get_by_label("In a sentence")).to_have_value("A fair")
    assert len([u for u in visit.asked if u.endswith("/v1/explanations")]) == 1
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
        ("model", "when,question,answer", "Keep or retrain?,"),
    ):
        with page.expect_download() as text:
            page.locator(f"#{section}-tools").get_by_role("button", name="CSV").click()
        content = Path(text.value.path()).read_text(encoding="utf-8-sig")
        assert content.startswith(first) and shown in content, section


PHONE = {"viewport": {"width": 390, "height": 844}}


def test_the_docs_send_with_a_key_and_with_the_ids_of_a_path(visit: Visit, shop: Shop) -> None:
    page = visit.page
    key = keys.create(shop.service.settings, "reader", "read")
    visit.expected = "401"
    try:
        page.goto(f"{shop.url}docs")
        kind = page.locator("details", has_text="/v1/exceptions").locator("tr", has_text="kind")
        expect(kind.first).to_contain_text('"miss" or "bias"')
        made = page.locator("details", has=page.locator("code", has_text="201")).first
        expect(made).to_contain_text("Fields of the answer")
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
