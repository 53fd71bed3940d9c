"""What the planner's page says when something is missing, down or forbidden."""

from playwright.sync_api import expect

from serving import keys

from .conftest import Shop, Visit


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
