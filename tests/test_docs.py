"""Documents that are made from results say what the results say."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.report import RESULTS, documents, fill
from checks import drift, gates, missing, quality
from data.settings import ROOT
from docs import build, reference, scorecard

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *documents()]
REPORTS = sorted((ROOT / "docs" / "report").glob("*.md"))
STALE = "Generated blocks are stale: run `.venv/bin/python -m docs.build blocks`."
LINK = re.compile(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_generated_blocks_are_what_the_result_files_say(page) -> None:
    assert fill(page.read_text()) == page.read_text(), STALE


@pytest.mark.parametrize("page", reference.pages(), ids=lambda p: p.name)
def test_reference_blocks_are_what_the_code_says(page) -> None:
    assert reference.fill(page.read_text()) == page.read_text(), STALE


def test_a_block_of_a_metric_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(LookupError, match="no metric"):
        fill("<!-- value pipeline no_such_metric ours .1f --><!-- end -->")


def test_blocks_are_found_and_filled() -> None:
    assert ">706<" in fill("<!-- value pipeline demo_series ours .0f -->x<!-- end -->")
    assert ">yes<" in fill("<!-- value pipeline demo_series met cell -->x<!-- end -->")
    table = fill("<!-- table pipeline demo_* --><!-- end -->")
    assert "| demo_series | series | 706 | 700 | yes |" in table


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_line_begins_with_a_figure(page) -> None:
    # Markdown takes a line that begins with a comment for HTML: its markup would be shown as typed.
    assert not re.findall(r"^[ >*-]*<!-- (?:value|constant).*", page.read_text(), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may point to: the headings, as GitHub and the site name them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(page) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_a_link_to_a_heading_that_is_not_there_is_found(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# What `make` does: all\n[there](#what-make-does-all) [gone](#gone)\n")
    with pytest.raises(AssertionError, match="#gone"):
        test_links_between_documents_lead_somewhere(page)


def test_pdfs_and_diagrams_are_made_from_todays_sources() -> None:
    assert json.loads(build.MADE_FROM.read_text()) == build.sources(), "Run `make docs`."


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text().split()
    for page in documents():
        name = page.relative_to(ROOT / "docs") if page.is_relative_to(ROOT / "docs") else None
        assert name is None or name.stem == "index" or str(name.with_suffix("")) in contents, name


@pytest.mark.parametrize(
    "block", [f"reference {name}" for name in reference.REFERENCES] + ["routes"]
)
def test_every_reference_is_on_a_page(block: str) -> None:
    assert any(f"<!-- {block} -->" in page.read_text() for page in documents())


def test_the_readme_is_short_and_shows_what_the_demo_prints() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    shown = text.split("<!-- demo -->")[1].split("<!-- end -->")[0]
    assert (RESULTS / "demo.txt").read_text() in shown
    for part in ("Retraining gate:", "WRMSSE", "Done in"):
        assert part in shown


@pytest.mark.parametrize("module", [quality, missing, drift, gates], ids=lambda m: m.__name__)
def test_every_threshold_of_the_retraining_gate_is_explained_as_it_is(module) -> None:
    page = (ROOT / "docs" / "gates.md").read_text()
    room = module.__name__.split(".")[1]
    documented = dict(re.findall(rf"\| `{room}\.(\w+)` \| ([^|]+) \|", page))
    documented.pop("LIMITS", None)
    assert documented
    for name, text in documented.items():
        value = getattr(module, name)
        if isinstance(value, range):
            value = (value.start, value.stop - 1)
        numbers = value if isinstance(value, tuple) else (value,)
        assert [float(n) for n in re.findall(r"[\d.]+", text)] == list(numbers), name


def test_every_limit_of_quality_is_explained_as_it_is() -> None:
    page = (ROOT / "docs" / "gates.md").read_text()
    for check, limit in quality.LIMITS.items():
        assert f"| `quality.LIMITS`: {check} | {limit:g} |" in page


def test_the_score_is_that_of_the_weakest_section(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        (section, n)
        for section, known in scorecard.POINTS.items()
        for n in range(1, len(known) + 1)
    ]
    monkeypatch.setattr(scorecard, "BY_HAND", {})
    monkeypatch.setattr(scorecard, "marked", lambda: ((point, "it") for point in points))
    assert scorecard.card().startswith("**Score 7**: exceptional")
    monkeypatch.setattr(scorecard, "marked", lambda: ((point, "it") for point in points[4:]))
    assert scorecard.card().startswith("**Score 3**: reasonably tested. Sections: data 3, model 7")
    monkeypatch.setattr(scorecard, "BY_HAND", {points[0]: ("pipeline", "by hand")})
    assert scorecard.card().startswith("**Score 3.5**: strong")


def test_marks_are_read_from_the_tests() -> None:
    found = {point for point, _ in scorecard.marked()}
    assert len(found) > 15
    assert all(1 <= n <= len(scorecard.POINTS[section]) for section, n in found)


# Digits in the prose of reports that nobody measured: names, limits, the shape of the system.
GIVEN = (
    r"RFC 9457|SHA-256|Soda 4|Python 3\.11 to 3\.13|Elastic 2\.0|BSL 1\.1|84\.51°|MIT",
    r"horizon 29|version \d|in 2017|next day of 2017|of 2017|25 December",
    r"100 stores × 30,000 items|10,000 stores",  # sizes that are asked about
    r"below 5 %",  # a rule of the landing contract
    r"on 100 or more",  # days, by the name of the metric beside it
    r"28 days",  # the horizon
    r"^\d\.",  # a numbered list
)
# On other pages a figure that looks measured: a decimal, a time or size, a share, a large count.
MEASURED = re.compile(
    r"\d\.\d|\d (of|in) \d|\d,?\d{3}|\d ?(ms|s|h|min|seconds|minutes|hours|[kMG]i?B|x|times)\b"
)
TOLD = (  # and was not
    r"\b(19|20)\d\d\b|\d\d-\d\d\b|127\.0\.0\.1(:\d+)?|RFC 9457|CVE-[\d-]+|mode 0600|84\.51°",
    r"Python 3\.11 to 3\.13|(License|Elastic|BSL|Apache|OpenAPI|LightGBM up to) \d[\d.]*\d",
    r"(alibi-detect|Apache-licensed|DuckDB below) \d\.\d+",
    r"80 of 100 such days",  # what an 80 % interval is
    r"2\.5 % to 97\.5 %|between 0\.1 and 0\.9",  # levels of quantiles
    r"0\.6 × 56 days \+ 0\.4 × 28 days",  # what a method computes
    r"quantities x 100|sums of 1 to 6",
    r"Linux, with two cores and 24 GiB",  # the machine that result files name
    r"30,490 series|killed 5 times|exchanged 20 times|for 10 s|2,000 series",  # sizes of benchmarks
)


@pytest.mark.parametrize("page", REPORTS, ids=lambda p: p.name)
def test_no_figure_of_a_report_is_typed_by_hand(page: Path) -> None:
    assert digits(page.read_text()) == []


@pytest.mark.parametrize("page", sorted({*PAGES} - {*REPORTS}), ids=lambda p: p.name)
def test_no_figure_that_was_measured_is_typed_by_hand(page: Path) -> None:
    assert [line for line in digits(page.read_text(), TOLD) if MEASURED.search(line)] == []


def test_a_figure_that_was_typed_is_found() -> None:
    assert digits("The error fell by 12 %, see RFC 9457.\n") == ["The error fell by 12 %, see ."]
    assert digits("It is <!-- value data days ours .0f -->364<!-- end --> days.\n") == []
    assert digits("| swap | 30 ms |\n") == ["| swap | 30 ms |"]
    for typed in ("0.9 of them", "30 ms", "2,469 households", "41 of 100 days", "190 lines, 48 kB"):
        assert MEASURED.search(typed)


def digits(text: str, given: Sequence[str] = GIVEN) -> list[str]:
    """Lines that hold a digit outside of generated blocks, code and what is given."""
    made = r"<!-- (table|value|scaling|margins|routes|reference|constant|demo) ?[^>]*-->"
    limit = r"^\| `(quality|missing|drift|gates)\.\w+`[^|]*\|[^|]*"  # another test reads the code
    for pattern in (rf"{made}.*?<!-- end -->", r"^ *```.*?^ *```", limit, r"`[^`]*`"):
        text = re.sub(pattern, "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    for pattern in given:
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    return [line.strip() for line in text.splitlines() if re.search(r"\d", line)]


LENGTHS = {"business": (1, 2), "concept": (4, 8), "technical": (3, 5), "slides": (5, 8)}


@pytest.mark.parametrize("page", REPORTS, ids=lambda p: p.name)
def test_a_report_is_as_long_as_its_readers_expect(page: Path) -> None:
    pdf = (page.parent / "pdf" / f"{page.stem}.pdf").read_bytes()
    least, most = LENGTHS.get(page.stem, (1, 3))
    assert least <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= most
