"""Whatever a document tells its reader to type: it exists, and takes what it is given."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fastapi.testclient import TestClient

from benchmarks.report import documents
from data.settings import ROOT, Settings
from data.warehouse import connect
from serving import keys
from serving.routes.application import create_api
from serving.service import ForecastService

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *documents()]
PROGRAMS = {"cd", "df", "du", "export", "fuser", "git", "tar"}  # of the system
FIRST = ("make", "python", "prefect", "curl", "feast", "uv", *PROGRAMS)
FLOWS = {
    d["name"]: d["entrypoint"]
    for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}
ASSIGNED = re.compile(r"^[A-Z_]+=")


class Told(NamedTuple):
    """A command that a page tells."""

    page: str
    words: tuple[str, ...]


def fences(text: str, language: str) -> list[str]:
    found = re.findall(r"^( *)```(\S*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [(said, re.sub(rf"^{indent}", "", body, flags=re.M)) for indent, said, body in found]
    return [body for said, body in lines if said == language]


def spans(text: str) -> list[str]:
    """What stands between single backticks, as one line each."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def words_of(line: str) -> list[str]:
    """A command's words, without variables that are set for it and the way to its program."""
    words = shlex.split(line, comments=True)
    while words and ASSIGNED.match(words[0]):
        words.pop(0)
    return [words[0].removeprefix(".venv/bin/"), *words[1:]] if words else []


def is_command(span: str) -> bool:
    words = words_of(span) if "'" not in span else []
    return len(words) > 1 and words[0] in FIRST


def told(page: Path) -> list[Told]:
    text = re.sub(r"<!-- demo:begin -->.*?<!-- demo:end -->", "", page.read_text(), flags=re.S)
    lines = [line for body in fences(text, "") for line in body.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    parts += [span for span in spans(text) if is_command(span)]
    return [Told(page.name, tuple(words)) for part in parts if (words := words_of(part))]


COMMANDS = sorted({command for page in PAGES for command in told(page)})


def of(first: str) -> list[Any]:
    chosen = [c for c in COMMANDS if c.words[0] == first]
    return [pytest.param(c.words, id=f"{c.page}: {' '.join(c.words)[:60]}") for c in chosen]


def test_every_command_is_of_a_kind_that_is_checked_here() -> None:
    assert len(COMMANDS) > 40
    for command in COMMANDS:
        assert command.words[0] in FIRST, command


@pytest.mark.parametrize("words", of("make"))
def test_make_has_the_target(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", of("python"))
def test_a_module_that_is_run_is_there_and_knows_its_options(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words[1] == "-m", words
    name, options = words[2], [word for word in words[3:] if word.startswith("-")]
    spec = find_spec(name)
    if spec and spec.submodule_search_locations is not None:
        name, spec = f"{name}.__main__", find_spec(f"{name}.__main__")
    assert spec and spec.origin
    assert '__name__ == "__main__"' in Path(spec.origin).read_text() or words[2] == "pytest"
    for path in words[3:]:
        assert "/" not in path or (ROOT / path).exists(), path
    if options:
        verb = [word for word in words[3:4] if not word.startswith("-")]
        with pytest.raises(SystemExit):
            importlib.import_module(name).main([*verb, "--help"])
        known = capsys.readouterr().out
        assert all(option in known for option in options), known


@pytest.mark.parametrize("words", of("prefect"))
def test_a_deployment_that_is_run_takes_the_parameters(words: tuple[str, ...]) -> None:
    assert words[1:3] == ("deployment", "run"), words
    if len(words) < 4 or words[3] == "FLOW/FLOW":
        return
    flow, name = words[3].split("/")
    assert flow == name and name in FLOWS
    module, function = FLOWS[name].split(":")
    given = [word.split("=", 1) for word in words[4:] if word != "--param"]
    getattr(importlib.import_module(module), function).validate_parameters(
        {key: _as_prefect_reads(value) for key, value in given}
    )


def _as_prefect_reads(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value


@pytest.mark.parametrize("words", of("curl"))
def test_a_request_is_one_that_the_api_takes(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(tmp_path))
    base = Settings(_env_file=None).serve_url
    [url] = [word for word in words if word.startswith("http")]
    assert url.startswith(f"{base}/")
    body = words[words.index("-d") + 1] if "-d" in words else None
    with TestClient(create_api(ForecastService()), base_url=base) as api:
        answer = api.request(
            "POST" if body else "GET",
            url,
            content=body,
            headers={"Content-Type": "application/json"},
        )
    # Without a model there is no forecast; the request itself was understood.
    assert answer.status_code in (200, 503), answer.text


@pytest.mark.parametrize("words", [*of("feast"), *of("uv")])
def test_a_tool_of_the_project_has_the_verb(words: tuple[str, ...]) -> None:
    verb = next(word for word in words[1:] if re.fullmatch("[a-z]+", word))
    assert (words[0], verb) in {("feast", "ui"), ("feast", "plan"), ("uv", "sync")}
    places = [str(Path(sys.executable).parent), str(ROOT / ".uv" / "bin"), os.environ["PATH"]]
    assert shutil.which(words[0], path=os.pathsep.join(places))


def test_keys_are_made_and_revoked_as_the_page_on_security_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(tmp_path))
    told_keys = [c for c in told(ROOT / "docs" / "security.md") if "serving.keys" in c.words]
    assert len(told_keys) == 4
    for command in told_keys:
        assert keys.main(list(command.words[3:])) == 0
    shown = capsys.readouterr().out
    assert "planner  read  until revoked" in shown or "buyer  admin" in shown


def test_variables_that_pages_name_are_settings() -> None:
    known = {f"SHELFCAST_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        for name in re.findall(r"\bSHELFCAST_[A-Z_]*[A-Z]\b", page.read_text()):
            assert name in known, f"{page.name}: {name}"


def test_lines_for_the_env_file_are_taken(tmp_path: Path) -> None:
    lines = [
        line
        for page in PAGES
        for body in fences(page.read_text(), "ini")
        for line in body.splitlines()
    ]
    assert lines
    file = tmp_path / ".env"
    file.write_text("\n".join(lines))
    assert Settings(_env_file=file).source == "csv"


def test_queries_that_pages_tell_run_on_the_warehouse(tmp_path: Path) -> None:
    queries = {s for page in PAGES for s in spans(page.read_text()) if s.startswith("SELECT ")}
    assert queries
    with connect(Settings(state_dir=tmp_path, _env_file=None)) as warehouse:
        for query in queries:
            warehouse.execute(query)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_in_a_page_compiles_and_imports_what_there_is(page: Path) -> None:
    for block in fences(page.read_text(), "python"):
        compile(block, str(page), "exec")
        for line in re.findall(r"^(?:from|import) .*", block, re.MULTILINE):
            exec(line, {})
