"""A picture of a page is taken when its rows are there, else said to be missing."""

import shutil
from pathlib import Path

import httpx
import pytest

from benchmarks import interfaces
from benchmarks.browser import NAMES, chromium
from benchmarks.interfaces import NoRows, Shot

pytestmark = pytest.mark.skipif(not any(map(shutil.which, NAMES)), reason="no Chromium")


def test_a_page_without_rows_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.html"
    page.write_text("<table><tbody><tr><td>one<tr><td>two</table>")
    with chromium() as browser:
        assert interfaces.picture(browser, Shot("it", page.as_uri(), "tr", 2)).startswith(
            b"\x89PNG"
        )
        monkeypatch.setattr(interfaces, "SECONDS", 0.5)  # for what never comes
        with pytest.raises(NoRows, match="shows 2 rows, expected 3 or more"):
            interfaces.picture(browser, Shot("it", page.as_uri(), "tr", 3))


def test_what_never_ran_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = httpx.Response(200, json=[], request=httpx.Request("POST", "http://x"))
    monkeypatch.setattr(httpx, "post", lambda *_, **__: nothing)
    with pytest.raises(NoRows, match=r"artifacts finds nothing .* run `make demo` first"):
        interfaces.latest("http://x/artifacts", {"limit": 1})
