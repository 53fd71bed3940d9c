"""Documents that are made from results say what the results say."""

import re

import pytest

from benchmarks.report import PAGE, render
from data.settings import ROOT

RESULT = ROOT / "benchmarks" / "results" / "pipeline.json"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_speed_table_is_the_result_file() -> None:
    page = PAGE.read_text()
    assert render(page, RESULT) == page
    assert "historical_retrieval_vs_asof" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short_and_shows_what_the_demo_prints() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    shown = text.split("<!-- demo:begin -->")[1].split("<!-- demo:end -->")[0]
    for part in ("Retraining gate:", "WRMSSE", "Done in"):
        assert part in shown
