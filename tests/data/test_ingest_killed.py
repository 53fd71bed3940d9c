"""A killed run leaves nothing half-done, and the next one ends where it would have ended."""

import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from data import schema
from data.ingest import CONTENT, land, publish
from data.settings import Settings
from data.warehouse import connect

RULES = [("quantity is missing", "y IS NULL")]
AS_OF = datetime(2017, 3, 1, 11, tzinfo=UTC)
TABLES = ("landing", "sales", "plan", "quarantine", "ingest_log")

KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
import polars as pl
from data import ingest
from data.settings import Settings
from data.warehouse import connect

folder, state, stage = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
settings = Settings(_env_file=None, state_dir=state)
run_sql = ingest._execute

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def run_then_die(con, name, **params):
    run_sql(con, name, **params)
    if name == stage:
        die()

ingest._execute = run_then_die
with connect(settings) as con:
    batch = ingest.land(con, settings, pl.read_parquet(folder / "sales.parquet"),
                        source="csv", as_of=datetime.fromisoformat(sys.argv[4]))
    if stage == "landed":
        die()
    ingest.publish(con, batch, [("quantity is missing", "y IS NULL")],
                   pl.read_parquet(folder / "plan.parquet"))
    if stage == "published":
        die()
"""


@pytest.fixture
def frames():
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(50)]
    sales = pl.DataFrame({"ds": days}).join(
        pl.DataFrame({"store_id": [str(n) for n in range(40)]}), how="cross"
    )
    sales = sales.with_columns(
        item_id=pl.lit("A"),
        y=pl.when(pl.int_range(pl.len()) % 97 != 0).then(1.0),
        price=pl.lit(2.0),
        exclusion=pl.lit(None, dtype=pl.String),
        known_at=pl.lit(None, dtype=schema.UTC),
    ).select(CONTENT)
    plan = sales.select(
        *schema.KEYS, "ds", display=pl.lit(1.0), mailer=pl.lit(0.0), known_at=pl.lit(AS_OF)
    )
    return sales, plan


def load(settings: Settings, frames) -> dict[str, list[tuple[object, ...]]]:
    sales, plan = frames
    with connect(settings) as con:
        publish(con, land(con, settings, sales, source="csv", as_of=AS_OF), RULES, plan)
        return contents(con)


def contents(con):
    return {name: con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in TABLES}


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("land", {"landing": 0, "sales": 0}),
        ("landed", {"landing": 2000, "sales": 0}),
        ("publish_sales", {"landing": 2000, "sales": 0}),
        ("publish_quarantine", {"landing": 2000, "sales": 0}),
        ("publish_plan", {"landing": 2000, "sales": 0}),
        ("published", {"landing": 2000, "sales": 1979}),
    ],
)
def test_a_killed_run_leaves_whole_steps_and_the_next_one_finishes(
    tmp_path, settings, frames, stage, left
):
    sales, plan = frames
    sales.write_parquet(tmp_path / "sales.parquet")
    plan.write_parquet(tmp_path / "plan.parquet")
    run = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, settings.state_dir, stage, AS_OF.isoformat()],
        check=False,
        capture_output=True,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    with connect(settings) as con:
        found = contents(con)
    assert {name: len(found[name]) for name in left} == left
    assert bool(found["ingest_log"]) == bool(found["plan"]) == (stage == "published")

    undisturbed = load(settings.model_copy(update={"state_dir": tmp_path / "undisturbed"}), frames)
    assert load(settings, frames) == undisturbed


FULL = """
import resource, sys
from datetime import datetime
from pathlib import Path
import polars as pl
from data import ingest
from data.settings import Settings
from data.warehouse import connect

folder, state, as_of, room = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
settings = Settings(_env_file=None, state_dir=state)
with connect(settings) as con:
    batch = ingest.land(con, settings, pl.read_parquet(folder / "sales.parquet"),
                        source="csv", as_of=datetime.fromisoformat(as_of))
    ingest.publish(con, batch, [("quantity is missing", "y IS NULL")],
                   pl.read_parquet(folder / "plan.parquet"))
"""


@pytest.mark.parametrize("room", [500_000, 1_000_000])
def test_a_disk_that_fills_up_fails_the_run_and_the_next_one_finishes(
    tmp_path, settings, frames, room
):
    sales, plan = frames
    sales.write_parquet(tmp_path / "sales.parquet")
    plan.write_parquet(tmp_path / "plan.parquet")
    run = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path, settings.state_dir, AS_OF.isoformat(), str(room)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    (said,) = [s for s in run.stderr.splitlines() if "Error: " in s and not s.startswith(" ")]
    assert "warehouse.duckdb" in said and said.endswith("File too large")
    undisturbed = load(settings.model_copy(update={"state_dir": tmp_path / "undisturbed"}), frames)
    assert load(settings, frames) == undisturbed
