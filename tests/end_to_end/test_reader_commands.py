"""The commands of documents, typed on the real stack; after the main job, since they change it."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import polars as pl
import pytest

from benchmarks import interfaces
from data.settings import ROOT, Settings
from data.warehouse import connect, query
from stack.programs import environment
from tests.told import COMMANDS, PAGES, Told, fences, told

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(shutil.which("curl") is None, reason="pages ask by curl, which is missing"),
]

# A training takes minutes; `pipeline`, which the demo ran, holds both flows. They are put off.
LONG = ("train/train", "retrain/retrain")


def without_watch(command: Told) -> str:
    return shlex.join(word for word in command.words if word != "--watch")


def typed(settings: Settings, lines: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of lines of a page; addresses and folder are those of the test's stack."""
    usual = Settings(_env_file=None)
    for theirs, own in (
        (usual.serve_url, settings.serve_url),
        (usual.prefect_api_url, settings.prefect_api_url),
        ("data/state", str(settings.state_dir)),
        ("/tmp/spoilt.csv", str(settings.state_dir / "spoilt.csv")),
        ("=/data/", f"={settings.state_dir}/demo/"),
    ):
        lines = lines.replace(theirs, own)
    return subprocess.run(
        ["bash", "-ec", lines],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def steps(page: Path) -> Iterator[str]:
    """The blocks of commands of a page, without start and stop of the stack."""
    for block in fences(page.read_text(), ""):
        if not any(word in block for word in ("make demo", "make down")):
            yield block


def test_the_tutorial_runs_as_it_is_written(running: Settings, demo: str) -> None:
    with connect(running) as con:
        before = query(con, "quarantined")["n"].sum()
    said = []
    for block in steps(ROOT / "docs" / "tutorial.md"):
        done = typed(running, block)
        assert done.returncode == 0, block + done.stdout + done.stderr
        said.append(done.stdout)
    forecast, day, mistakes, delivery = said
    assert '"quantiles":{"0.1":' in forecast and day.count("finished successfully") == 2
    assert "from 1 to 28" in mistakes and "'no such store'" in mistakes
    assert "finished successfully" in delivery
    with connect(running) as con:
        assert query(con, "quarantined")["n"].sum() == before + 4


def test_the_demonstrating_example_of_the_technical_report_runs(
    running: Settings, demo: str
) -> None:
    blocks = [b for b in steps(ROOT / "docs" / "report" / "technical.md") if "prefect" not in b]
    said = [typed(running, block) for block in blocks]
    assert "y_hat" in said[0].stdout and "from 1 to 28" in said[1].stdout
    assert said[2].returncode and "nothing to roll back to" in said[2].stderr


def test_make_status_and_the_checks_of_the_runbook_answer(running: Settings, demo: str) -> None:
    assert "Forecast API" in typed(running, "make status").stdout
    asked = {c.line for c in COMMANDS if c.words[0] == "curl" and "-d" not in c.words}
    assert asked
    for command in asked:
        assert json.loads(typed(running, command).stdout), command


def corrected(settings: Settings) -> None:
    """The file `sales.csv` of the pages: the demo's redelivery, a row revised and none bad."""
    folder = settings.state_dir / "demo"
    rows = pl.read_csv(folder / "redelivery.csv", schema_overrides={"store_id": pl.String})
    first = pl.int_range(pl.len()) == 0
    good = rows.head(rows.height - 3).with_columns(y=pl.col("y") + first.cast(pl.Float64))
    good.write_csv(folder / "sales.csv")


def test_every_run_of_a_deployment_that_a_page_tells_ends_as_it_says(
    running: Settings, demo: str
) -> None:
    corrected(running)
    with connect(running) as con:
        before = query(con, "sales_versions").height
    done_before = {without_watch(c) for c in told(ROOT / "docs" / "tutorial.md")}
    runs: dict[str, set[str]] = {}
    for command in COMMANDS:
        if command.words[0] != ".venv/bin/prefect" or "FLOW/FLOW" in command.words:
            continue
        if len(command.words) > 3 and without_watch(command) not in done_before:
            runs.setdefault(command.words[3], set()).add(without_watch(command))

    def run(name: str) -> list[subprocess.CompletedProcess[str]]:
        how = "--start-in '1 day'" if name in LONG else "--watch --watch-interval 1"
        return [typed(running, f"{line} {how}") for line in sorted(runs[name])]

    with ThreadPoolExecutor(3) as pool:
        found = dict(zip(sorted(runs), pool.map(run, sorted(runs)), strict=True))
    for name, said in found.items():
        end = {"rollback/rollback": "Failed"}.get(name, "finished successfully")
        for done in said:
            assert ("Created" if name in LONG else end) in done.stdout + done.stderr, (name, done)
    with connect(running) as con:
        assert query(con, "sales_versions").height == before + 1


def test_five_lines_of_python_read_features_as_they_were_known_then(
    running: Settings,
    demo: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(running).items():
        monkeypatch.setenv(name, value)
    blocks = fences((ROOT / "docs" / "features-in-python.md").read_text(), "python")
    assert len(blocks) == 2 and len(blocks[0].replace("\n\n", "\n").splitlines()) == 5
    for block in blocks:
        exec(block, {})
    said = capsys.readouterr().out
    assert said.count("shape: (1,") == 2 and said.count("GROCERY") == 2
    assert "2017-09-10" in said.split("shape:")[1]


def test_python_of_the_other_pages_runs(
    running: Settings, demo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(running).items():
        monkeypatch.setenv(name, value)
    blocks = [
        block
        for page in PAGES
        if page.name != "features-in-python.md"
        for block in fences(page.read_text(), "python")
    ]
    assert blocks
    for block in blocks:
        exec(block, {})


def test_feasts_own_page_comes_up(running: Settings, demo: str) -> None:
    with interfaces.feast_ui(running) as url:
        assert httpx.get(url).is_success


def test_a_backup_brings_the_whole_state_back(running: Settings, demo: str, tmp_path: Path) -> None:
    archive = "shelfcast-state.tar.gz"
    pages = "".join(
        b for b in fences((ROOT / "docs" / "roll-back.md").read_text(), "") if "tar" in b
    )
    lines = pages.replace(archive, str(tmp_path / archive)).splitlines()
    assert [line.split()[1] for line in lines] == [
        *("down", "-czf", "up"),
        *("down", str(Path("data", "state")), "-xzf", "up", "status"),
    ]
    with connect(running) as con:
        before = query(con, "sales_versions")
    backup = typed(running, "\n".join(["export TAR_OPTIONS=-P", *lines[:2]]))
    assert backup.returncode == 0, backup.stderr
    later = running.snapshots_dir / "later"
    later.mkdir()  # as what was written after the copy
    restore = typed(running, "\n".join(["export TAR_OPTIONS=-P", *lines[4:]]))
    assert restore.returncode == 0, restore.stdout + restore.stderr
    assert "Forecast API" in restore.stdout and not later.exists()
    shutil.rmtree(f"{running.state_dir}.before")
    assert httpx.get(f"{running.serve_url}/v1/model").json()["version"] == "1"
    with connect(running) as con:
        assert query(con, "sales_versions").equals(before)
