"""Whatever a document tells its reader to type: it exists, and takes what it is given."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

import demo
from benchmarks import __main__ as pipeline
from benchmarks import gates, promotion, screenshots
from benchmarks import rollback as drill
from benchmarks import serving as load
from benchmarks.accuracy import __main__ as accuracy
from data.settings import ROOT, Settings
from data.warehouse import connect
from serving import keys, rollback
from serving.routes.application import create_api
from serving.service import ForecastService
from stack.__main__ import main as stack
from tests.told import COMMANDS, OWN, PAGES, SYSTEM, Told, fences, told

URL = "PREFECT_API_URL=http://127.0.0.1:4200/api"

TECHNICAL = ROOT / "docs" / "report" / "technical.md"

FLOWS = {
    d["name"]: d["entrypoint"]
    for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}
INLINE = (".venv/bin/python", "-c")
# Where each command is run in full. What isn't in here is run by no test, and says why below.
HERE = {"make help", "make score", "make status", "python -m serving.keys", "curl"}
HERE |= {"python -c", "cd", "df", "du", "fuser", "git"}
STACK = {"prefect deployment run", "curl", "cp", "echo", "export"}  # test_reader_commands.py
STACK |= {"make rollback", "make status", "make up", "make down", "mv", "tar"}
ELSEWHERE = {
    "make demo": ("end_to_end/conftest.py", "demo.py"),
    "make clean": ("stack/test_stack_commands.py", "clean(settings)"),
    "make replay": ("flows/test_replay.py", "replay("),
    "python -m benchmarks.data_quality": ("benchmarks/test_results.py", "data_quality.count()"),
    "python -m docs.build": ("test_docs.py", "reference.fill(page.read_text())"),
    "feast -c feature_repo": ("end_to_end/test_reader_commands.py", "feast_ui"),
}
# On small data, or for a moment; from what it reads to the rows that it saves.
LIVE = "end_to_end/test_small_benchmarks.py"
SMALL = {
    "make bench": ("benchmarks/test_replay.py", "pipeline.main()"),
    "make bench-gates": ("benchmarks/test_small_runs.py", "gates.main("),
    "make bench-accuracy": ("benchmarks/test_small_runs.py", "accuracy.main([])"),
    "make bench-accuracy-full": ("benchmarks/test_accuracy_full.py", 'accuracy.main(["full"])'),
    "make bench-serving": (LIVE, "serving.main([part])"),
    "make bench-soak": (LIVE, '"soak": '),
    "make bench-fuzz": (LIVE, '"fuzz": '),
    "make screenshots": (LIVE, 'screenshots.main("")'),
    "python -m benchmarks.serving": (LIVE, "serving.main("),
    "python -m benchmarks.accuracy": ("benchmarks/test_small_runs.py", "accuracy.main("),
    "python -m benchmarks.gates": ("benchmarks/test_small_runs.py", "gates.main("),
    "python -m benchmarks.replay": ("benchmarks/test_replay.py", "timed.main("),
}
ELSEWHERE |= SMALL
NOT_RUN = {
    "make test": "it is what runs this",
    "python -m pytest": "a part of what runs this",
    "make lint": "CI runs it beside the tests",
    "make format": "it changes the checkout",
    "make docs": "needs the group docs; CI runs it after the tests",
    "make bundle": "packs what `make docs` made",
    "python -m benchmarks.demonstration": "runs `make demo`; a test shortens what one printed",
}


def kind(words: Sequence[str]) -> str:
    """What of a command decides where it is run: its target, its module, or its program."""
    first = words[0].removeprefix(".venv/bin/")
    if tuple(words[:2]) == INLINE:
        return "python -c"
    return " ".join([first, *words[1 : {"make": 2, **dict.fromkeys(OWN, 3)}.get(first, 1)]])


def of(first: str) -> list[Any]:
    chosen = [c for c in COMMANDS if c.words[0] in (first, f".venv/bin/{first}")]
    return [pytest.param(c.words, id=f"{c.page}: {c.line[:60]}") for c in chosen]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}: {c.line[:60]}")
def test_a_command_can_be_typed_as_it_stands_and_is_run_by_a_test(command: Told) -> None:
    program = command.words[0]
    assert program in SYSTEM or program.removeprefix(".venv/bin/") in OWN, program
    assert program not in OWN, f"{command.page}: `.venv/bin/` is missing before {command.line}"
    assert kind(command.words) in {*HERE, *STACK, *ELSEWHERE, *NOT_RUN}, command


def test_where_commands_are_run_is_true() -> None:
    kinds = {kind(command.words) for command in COMMANDS}
    assert not {*HERE, *STACK, *ELSEWHERE} & {*NOT_RUN}
    assert {*HERE, *STACK, *ELSEWHERE, *NOT_RUN} <= kinds, "a command that no page tells"
    for file, text in ELSEWHERE.values():
        assert text in (ROOT / "tests" / file).read_text(), (file, text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_says_where_the_stack_is_before_prefect_is_asked(page: Path) -> None:
    text = page.read_text()
    assert ".venv/bin/prefect " not in text or f"export {URL}" in text


def test_the_address_that_pages_name_is_that_of_the_settings() -> None:
    assert Settings(_env_file=None).prefect_api_url in URL


@pytest.mark.parametrize("target", sorted(k for k in HERE if k.startswith("make ")))
def test_what_only_shows_something_shows_it(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*target.split()],
        cwd=ROOT,
        env={**os.environ, "SHELFCAST_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = {
        "make help": "make demo",
        "make score": "**Score",
        "make status": "`make up` starts it",
    }
    assert wanted[target] in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("words", [p for name in ("df", "du", "fuser") for p in of(name)])
def test_what_looks_at_the_system_takes_what_it_is_given(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is missing")
    path = tmp_path / words[-1]
    path.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.rmdir()
    with path.open("w") if path.suffix else nullcontext():
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert words[0] != "fuser" or str(os.getpid()) in done.stdout.split()


def test_a_clone_is_made_and_knows_its_commands(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: nothing to clone from")
    [line] = [line for line in fences(TECHNICAL.read_text(), "") if "git clone" in line]
    first = line.splitlines()[0].replace("REPOSITORY", str(ROOT))
    done = subprocess.run(
        ["bash", "-ec", f"{first} && make help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "make demo" in done.stdout, done.stderr


@pytest.mark.parametrize("words", of("make"))
def test_make_has_the_target(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [p for p in of("python") if p.values[0][:2] != INLINE])
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
    given = [word.split("=", 1) for word in words[4:] if not word.startswith("--")]
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
    assert answer.status_code in ((422,) if '"horizon": 29' in (body or "") else (200, 503))


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


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FIRST_CUTOFF", "30.06.2024", "it should be a valid date or datetime, invalid character"),
        ("CLOSED_DAYS", '["12-25", "1-1"]', "has '1-1': it should be a month and a day"),
        ("CLOSED_DAYS", '["12/25"]', "such as 12-25; put it right in the environment or in .env"),
        ("CLOSED_DAYS", "12-25", "lists are JSON, such as"),
        ("TIMEZONE", "Nowhere/Town", "it should be a time zone of the IANA database, such as"),
        ("HOLIDAY_COUNTRY", "Nowhere", "it should be a country's code of ISO 3166, such as US"),
        ("CURRENCY", "123456789", "it should have at most 8 characters, such as $"),
    ],
)
def test_a_wrong_setting_ends_every_command_with_one_sentence(
    name: str,
    value: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"SHELFCAST_{name}", value)
    commands: list[Callable[[], object]] = [
        demo.main,
        lambda: stack(["status"]),
        lambda: stack(["run"]),
        lambda: keys.main(["list"]),
        lambda: rollback.main("why"),
        lambda: screenshots.main(""),
        lambda: load.main(["soak"]),
        lambda: accuracy.main([]),
        lambda: gates.main([]),
        *(pipeline.main, promotion.main, drill.main),
    ]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            command()
        said = capsys.readouterr().err
        assert ended.value.code == 2 and expected in said and said.count("\n") == 1, said


def test_what_pages_ask_the_warehouse_is_printed_and_changes_nothing(tmp_path: Path) -> None:
    asked = [c.words for c in COMMANDS if c.words[:2] == INLINE]
    assert len(asked) == 2
    settings = Settings(state_dir=tmp_path / "data" / "state", _env_file=None)
    now = datetime.now(UTC)
    with connect(settings) as con:
        con.execute("INSERT INTO quarantine (reason) VALUES ('no store'), ('no store')")
        error = ["odd", "long " * 30, now, now, 1, "me", "wait"]
        con.execute("INSERT INTO error_events VALUES (?, ?, ?, ?, ?, ?, ?)", error)
    before = settings.warehouse_path.read_bytes()
    said = ""
    for words in asked:
        run = [sys.executable, *words[1:]]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
        said += done.stdout
    assert re.search(r"no store +│ +2", said) and "long " * 29 in said
    assert settings.warehouse_path.read_bytes() == before
    with connect(settings):
        busy = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Could not set lock on file" in busy.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_in_a_page_compiles_and_imports_what_there_is(page: Path) -> None:
    for block in fences(page.read_text(), "python"):
        compile(block, str(page), "exec")
        for line in re.findall(r"^(?:from|import) .*", block, re.MULTILINE):
            exec(line, {})
