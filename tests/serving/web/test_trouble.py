"""What the planner's page says when something is missing, down or forbidden."""

from playwright.sync_api import Page, Route, expect

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
    page = visit.page
    page.goto(f"{shop.url}?store=nowhere&item=nothing")
    expect(page.locator(".exceptions li")).to_have_count(6)
    without_forecast(page)
    late = list[Route]()
    for path in ("explanations", "orders"):
        page.route(f"**/v1/{path}", lambda route: late.append(route))
    page.locator(".exceptions a").first.click()
    expect(page.locator("#chart svg")).to_be_visible()
    page.wait_for_function("document.querySelectorAll('[aria-busy]').length == 2")
    page.go_back()
    without_forecast(page)
    for route in late:
        with page.expect_response(route.request.url):
            route.continue_()
    without_forecast(page)


def without_forecast(page: Page) -> None:
    """Nothing on the page is of a series that was shown before."""
    expect(page.locator("#totals [role=alert]")).to_contain_text("nowhere")
    for section in ("orders", "why", "override"):
        expect(page.locator(f"#{section}-body")).to_contain_text("There is no forecast")
    expect(page.locator("#series-files")).to_be_hidden()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_a_list_of_series_that_fails_says_so_and_is_read_again(visit: Visit, shop: Shop) -> None:
    visit.expected = "503"
    page, problem = visit.page, {"title": "Service Unavailable", "detail": "Run materialize."}
    none = {"published_at": "2017-09-11T12:00:00Z", "count": 0, "exceptions": []}
    page.route("**/v1/series?*", lambda route: route.fulfill(status=503, json=problem))
    page.route("**/v1/exceptions*", lambda route: route.fulfill(json=none))
    page.goto(shop.url)
    expect(page.locator("#totals [role=alert]")).to_contain_text("Run materialize.")
    page.locator("#find").fill("100")
    expect(page.locator("#found")).to_contain_text("Not every series could be read.")
    page.unroute("**/v1/series?*")
    page.locator("#totals").get_by_role("button", name="Try again").click()
    expect(page.locator("#chart svg")).to_be_visible()


def test_the_newest_choice_is_shown_whichever_answer_comes_last(visit: Visit, shop: Shop) -> None:
    late = list[Route]()
    page = visit.open(f"{shop.url}?store=100&item=ITEM+01")
    page.route("**/v1/exceptions?kind=miss*", lambda route: late.append(route))
    page.locator("#kind").select_option("miss")
    page.locator("#kind").select_option("bias")
    expect(page.locator(".exceptions .kind.bias")).to_have_count(6)
    with page.expect_response(late[0].request.url):
        late[0].continue_()
    expect(page.locator(".exceptions .kind.miss")).to_have_count(0)


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


def test_what_is_not_there_yet_says_so_and_is_no_error(visit: Visit, shop: Shop) -> None:
    nothing = dict.fromkeys(("exceptions", "rows", "figures", "decisions", "overrides"), ())
    told = {**nothing, "published_at": None, "since": None, "until": None, "count": 0}
    for path in ("exceptions", "accuracy", "decisions", "overrides"):
        visit.page.route(f"**/v1/{path}*", lambda route: route.fulfill(json=told))
    page = visit.open(shop.url)
    for section, words in (
        ("exceptions", "Nothing stands out"),
        ("accuracy", "No forecast has met its sales yet"),
        ("model", "Nothing has been decided yet"),
        ("override", "No override for this series"),
    ):
        expect(page.locator(f"#{section}-body")).to_contain_text(words)
    expect(page.locator("#series-title")).to_contain_text("Store")  # the first of the list
    assert page.locator("[role=alert]").count() == 0


def test_what_is_on_its_way_is_grey_bars_until_it_is_there(visit: Visit, shop: Shop) -> None:
    held = list[Route]()
    visit.page.route("**/v1/accuracy*", lambda route: held.append(route))
    visit.page.route("**/v1/explanations", lambda route: held.append(route))
    visit.page.goto(f"{shop.url}?store=100&item=ITEM+01")
    expect(visit.page.locator("#chart svg")).to_be_visible()
    for section in ("accuracy", "why"):
        body = visit.page.locator(f"#{section}-body")
        expect(body).to_have_attribute("aria-busy", "true")
        expect(body.locator(".skeleton")).to_be_visible()
    for route in held:
        route.continue_()
    expect(visit.page.locator("#accuracy tbody tr").first).to_be_visible()
    expect(visit.page.locator("#why .steps").first).to_be_visible()
    assert visit.page.locator(".skeleton, [aria-busy]").count() == 0
