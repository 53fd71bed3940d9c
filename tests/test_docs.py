"""Documents that are made from results say what the results say."""

import re

import pytest

from benchmarks.report import documents, fill
from data.settings import ROOT

PAGES = [ROOT / "CONTRIBUTING.md", *documents()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_generated_blocks_are_what_the_result_files_say(page) -> None:
    assert fill(page.read_text()) == page.read_text()


def test_a_block_of_a_metric_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(LookupError, match="no metric"):
        fill("<!-- value pipeline no_such_metric ours .1f --><!-- end -->")


def test_blocks_are_found_and_filled() -> None:
    assert ">706<" in fill("<!-- value pipeline demo_series ours .0f -->x<!-- end -->")
    table = fill("<!-- table pipeline demo_* --><!-- end -->")
    assert "| demo_series | series | 706 | 700 | yes |" in table


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
