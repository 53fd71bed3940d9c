"""The planner's page of the real stack in a real browser, as a planner uses it."""

import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from benchmarks.browser import USABLE, chromium
from data.settings import Settings

pytestmark = pytest.mark.end_to_end


def test_a_planner_finds_a_series_tries_a_promotion_and_takes_the_figures_along(
    running: Settings, demo: str
) -> None:
    asked, complaints = list[str](), list[str]()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("request", lambda r: asked.append(r.url))
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        page.goto(running.serve_url)
        page.wait_for_selector(USABLE, state="attached")
        expect(page.locator(".exceptions li")).not_to_have_count(0)
        expect(page.locator("#fresh")).to_contain_text("model 1")

        page.keyboard.press("/")
        page.keyboard.type("367 groc")
        page.keyboard.press("Enter")
        expect(page.locator("#series-title")).to_have_text("Store 367 · Grocery")
        page.wait_for_load_state("networkidle")
        page.get_by_label("Products in the mailer").press("End")
        expect(page.locator(".delta strong")).to_contain_text("units")
        expect(page.locator(".legend")).to_contain_text("What if")
        page.get_by_role("button", name="As planned").click()
        page.locator("#whatif-price").press("Home")
        moved = re.compile(r"^[+−][\d,.]*[1-9][\d,.]* units$")
        expect(page.locator(".delta strong")).to_have_text(moved)
        expect(page.locator("#accuracy tbody")).to_contain_text("367")
        expect(page.locator("#orders .big")).to_contain_text("Order")
        expect(page.locator("#why .steps").first).to_contain_text("This forecast")
        expect(page.locator("#why")).to_contain_text("Since the run of")
        expect(page.locator("#model .decisions li").first).to_be_visible()

        files = page.locator("#series-files")
        with page.expect_download() as text:
            files.get_by_role("button", name="CSV").click()
        lines = Path(text.value.path()).read_text(encoding="utf-8-sig").splitlines()
        assert len(lines) == 1 + 56 + 28 and lines[1].startswith("367,GROCERY,")
        with page.expect_download() as excel:
            files.get_by_role("button", name="Excel").click()
        with zipfile.ZipFile(BytesIO(Path(excel.value.path()).read_bytes())) as book:
            assert b"GROCERY" in book.read("xl/sharedStrings.xml")

        assert page.locator("[role=alert]").all_text_contents() == []
        found = Axe().run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert complaints == []
    assert [u for u in asked if not u.startswith((running.serve_url, "blob:"))] == []
