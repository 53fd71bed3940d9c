"""The page's files and Excel workbooks over HTTP."""

import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from data.settings import ROOT

WEB = ROOT / "serving" / "web"
SCRIPTS = sorted(WEB.glob("*.js"))
PAGES = sorted(WEB.glob("*.html"))


@pytest.mark.parametrize("path", ["/", "/docs", "/web/main.js", "/web/style.css"])
def test_a_file_may_load_nothing_from_elsewhere_and_run_nothing_inline(
    bare_client: TestClient, path: str
) -> None:
    answer = bare_client.get(path)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200 and "default-src 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy


def test_a_file_that_the_client_has_is_not_sent_again(bare_client: TestClient) -> None:
    first = bare_client.get("/web/main.js")
    again = bare_client.get("/web/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    old = bare_client.get("/web/main.js", headers={"If-None-Match": '"old"'})
    assert old.status_code == 200 and old.content == first.content


@pytest.mark.parametrize(
    "name",
    [
        *("nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "..%5capp.py", "%2Fetc%2Fpasswd"),
        *("main.js%00", "inter-license.txt", "%2e%2e", "MAIN.JS", "main.js/x"),
    ],
)
def test_only_files_of_the_page_are_served(bare_client: TestClient, name: str) -> None:
    answer = bare_client.get(f"/web/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_hold_no_inline_script_or_style_and_name_files_that_are_there(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", text)
    named = re.findall(r'(?:src|href)="(?!#|\./)([^"]+)"', text)
    assert named
    for target in named:
        assert target == "docs" or (WEB / target.removeprefix("web/")).exists(), target


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_short_import_what_is_there_and_parse_no_data_as_html(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 250
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    assert "https:" not in text
    for target in re.findall(r'from "\./([^"]+)"', text):
        assert (WEB / target).exists(), target


def sheet_of(content: bytes, n: int = 1) -> str:
    """The XML of a sheet, with its texts in place."""
    with zipfile.ZipFile(BytesIO(content)) as book:
        xml = book.read(f"xl/worksheets/sheet{n}.xml").decode()
        if "xl/sharedStrings.xml" not in book.namelist():
            return xml
        texts = re.findall(r"<t[^>]*>(.*?)</t>", book.read("xl/sharedStrings.xml").decode(), re.S)
    return re.sub(r't="s"><v>(\d+)</v>', lambda m: f">[{texts[int(m[1])]}]", xml)


def workbook(client: TestClient, *sheets: dict[str, object]) -> bytes:
    answer = client.post("/v1/workbooks", json={"sheets": list(sheets)})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].endswith("spreadsheetml.sheet")
    return answer.content


def test_a_workbook_holds_numbers_texts_and_days(bare_client: TestClient) -> None:
    rows = [["2017-09-10", 41.5, "fine"], ["2017-13-99", None, 0], []]
    sheet = sheet_of(
        workbook(bare_client, {"name": "a", "columns": ["day", "units", "note"], "rows": rows})
    )
    assert "[day]" in sheet and "[fine]" in sheet and "<v>41.5</v>" in sheet
    assert "<v>42988</v>" in sheet  # 10 September 2017 in Excel's count of days
    assert "[2017-13-99]" in sheet  # no day: stays what it was


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", "\t=1"])
def test_a_text_is_never_a_formula_or_a_link(bare_client: TestClient, text: str) -> None:
    table = {"name": text, "columns": [text], "rows": [[text], ["http://127.0.0.1/"]]}
    content = workbook(bare_client, table)
    sheet = sheet_of(content)
    assert "<f>" not in sheet and "hyperlink" not in sheet.lower()
    assert sheet.count(f"[{text.replace('&', '&amp;')}]") == 2


def test_names_that_excel_does_not_take_are_made_to_fit(bare_client: TestClient) -> None:
    names = ["a[b]:c*d?e/f\\g'", "x" * 90, "X" * 80, "''", "'"]
    content = workbook(bare_client, *({"name": n, "columns": ["c"], "rows": []} for n in names))
    with zipfile.ZipFile(BytesIO(content)) as book:
        found = re.findall(r'<sheet name="([^"]*)"', book.read("xl/workbook.xml").decode())
    assert len({n.lower() for n in found}) == len(names)
    assert all(0 < len(n) <= 31 and not set("[]:*?/\\'") & set(n) for n in found)


@pytest.mark.parametrize(
    "sheet",
    [
        {"name": "", "columns": ["a"], "rows": []},
        {"name": "a", "columns": [], "rows": []},
        {"name": "a", "columns": ["a"], "rows": [[1, 2]]},
        {"name": "a", "columns": ["a"], "rows": [[{"f": 1}]]},
        {"name": "a", "columns": ["a"], "rows": [["x" * 5000]]},
        {"name": "a", "columns": ["a"], "rows": [[10**400]]},
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    bare_client: TestClient, sheet: dict[str, object]
) -> None:
    answer = bare_client.post("/v1/workbooks", json={"sheets": [sheet]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"].startswith("/sheets/0")


@pytest.mark.parametrize("raw", ['"\\ud800"', "NaN", "Infinity", "true", '"\\u0000\\u0001"'])
def test_odd_cells_do_not_break_the_server(bare_client: TestClient, raw: str) -> None:
    body = '{"sheets": [{"name": "a", "columns": ["a"], "rows": [[' + raw + "]]}]}"
    answer = bare_client.post(
        "/v1/workbooks", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (200, 422)
