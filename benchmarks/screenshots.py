"""Takes the documents' pictures of every page that a user meets from the running stack.

Run by `make screenshots` after `make demo`; writes docs/images. It fails when a page shows no rows.
`python -m benchmarks.screenshots prefect` takes those whose name begins so.
"""

import sys

import httpx
from playwright.sync_api import Browser, Page

from benchmarks import interfaces
from benchmarks.browser import USABLE, chromium
from data.settings import ROOT, command_settings

IMAGES = ROOT / "docs" / "images"
WIDE = {"width": 1280, "height": 980}
PHONE = {"width": 390, "height": 844}


def opened(browser: Browser, url: str, **look: object) -> Page:
    """The page with the series that costs most, when everything is there."""
    page = browser.new_context(device_scale_factor=1.25, **look).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(USABLE, state="attached")
    page.wait_for_load_state("networkidle")
    return page


def with_promotion(page: Page) -> None:
    """Takes the mailer away, so that the picture shows a what-if."""
    page.get_by_label("Products in the mailer").press("Home")
    page.locator(".legend").get_by_text("What if").wait_for()


def keep(picture: bytes, name: str) -> None:
    (IMAGES / name).write_bytes(picture)
    print(f"{name}  {len(picture) / 1024:.0f} KiB")


def take_planner(browser: Browser, url: str) -> None:
    wide = opened(browser, url, viewport=WIDE, color_scheme="light")
    keep(wide.screenshot(), "planner.png")
    with_promotion(wide)
    keep(wide.locator("#series").screenshot(), "planner-what-if.png")
    keep(wide.locator("#accuracy").screenshot(), "planner-accuracy.png")
    keep(wide.locator(".pair:has(#orders)").screenshot(), "planner-order.png")
    phone = opened(browser, url, viewport=PHONE, color_scheme="dark")
    keep(phone.screenshot(), "planner-phone.png")


def main(wanted: str) -> None:
    settings = command_settings()
    with chromium() as browser, interfaces.feast_ui(settings) as feast:
        for shot in interfaces.shots(settings, feast):
            if shot.name.startswith(wanted):
                keep(interfaces.picture(browser, shot), f"{shot.name}.png")
        if "forecast".startswith(wanted):
            keep(interfaces.forecast_plot(settings.mlflow_url), "forecast.png")
        if "planner".startswith(wanted):
            take_planner(browser, f"{settings.serve_url}/")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except interfaces.NoRows as error:
        sys.exit(str(error))
    except httpx.HTTPError as error:
        sys.exit(f"The stack does not answer ({error}); run `make demo` first.")
