"""The units of a replay: a day's cycle, a fit, an issue; each made once, whatever policy asks.

What is finished lies in the replay's own folder under its key, written under another name and
renamed: a replay that was killed goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from time import process_time

import polars as pl

from checks import intake
from checks.audits import audit_features, audit_sales
from checks.policies import Policy
from data import ledger, snapshots, sources
from data.ingest import CONTENT
from data.settings import ROOT, Settings
from data.warehouse import Connection, connect, known_at_morning, query
from feature_repo import store
from models import forecaster
from models.assembly import training_data, write_features
from models.backtest import TrainingData
from models.batch import batch_forecasts
from models.forecaster import Forecaster
from models.gbm import DEFAULTS, Memory
from models.lagged import method_of
from models.training import Training, last_week, refit

CODE = ("data", "feature_repo", "models", "checks")  # a change of these makes a new replay
HELD = "held.parquet"  # production's sales as they arrived, copied when the replay began
WAIT_SECONDS = 600  # for a run that writes to it: `make replay` has no server to queue at
AHEAD = 7  # days of sales after an issue that judge it week by week
ASKED_EVERY = 7  # days between decisions: the deployment `retrain` runs once a week
# Settings that no result depends on, as it does on none of the ports.
WITHOUT_EFFECT = {
    *("state_dir", "mode", "first_cutoff", "trials", "tuning_seconds", "cpu_hour_price", "host")
}


@dataclass(frozen=True)
class Replay:
    """A range of days under some policies; `settings` lead to the replay's own folder.

    The first training is at `since`; forecasts are issued from every cutoff of `weeks` weeks from
    there, and policies are asked every seventh day. One more week of sales judges the last ones.
    Sales up to the day `held` come from production's warehouse as they arrived there, later ones
    from the source; `absent` are days of which nothing had arrived by their morning.
    """

    settings: Settings
    since: date
    weeks: int
    policies: tuple[Policy, ...]
    held: date | None = None
    absent: frozenset[date] = frozenset()

    @property
    def folder(self) -> Path:
        return self.settings.state_dir

    @property
    def until(self) -> date:
        """The last cutoff that forecasts are issued from."""
        return self.since + timedelta(days=7 * self.weeks - 1)

    @property
    def end(self) -> date:
        """The last day of sales."""
        return self.until + timedelta(days=AHEAD)

    @property
    def days(self) -> list[date]:
        """Cutoffs from `since` to the end; a day that is closed or absent delivers nothing."""
        due = [until for _, until in intake.due_days(self.settings, None, self.end)]
        return [ds for ds in due if ds not in self.absent]

    def asks(self, cutoff: date) -> bool:
        """Whether the policies are asked on the morning after a cutoff."""
        return self.since < cutoff <= self.until and (cutoff - self.since).days % ASKED_EVERY == 0


@dataclass(frozen=True)
class Day:
    """What the daily cycle left of a day."""

    snapshot: str
    failed_checks: list[str]
    cpu_seconds: float


def replay_of(settings: Settings, since: date, weeks: int, policies: Iterable[Policy]) -> Replay:
    """A replay on state of its own: the folder's name holds all that a result depends on.

    Of a source's files that is their size and time, of what lies elsewhere nothing.

    Copies what the warehouse of `settings` holds, if there is one, and has it open for that second.
    Raises WarehouseBusy, and ValueError when nothing was known of `since` on its morning.
    """
    own = {"first_cutoff": since, "mode": "replay"}
    replay = Replay(settings.model_copy(update=own), since, weeks, tuple(policies))
    arrived = _arrived(settings, replay.end)
    digest = _digest(settings, arrived)
    folder = settings.state_dir / "replay" / f"{since}-{digest[:12]}"
    replay = replace(replay, settings=replay.settings.model_copy(update={"state_dir": folder}))
    if arrived.is_empty():
        return replay
    held: date = arrived["ds"].max()  # type: ignore[assignment]
    present = set(arrived.filter(pl.col("arrives") == pl.col("ds"))["ds"])
    absent = frozenset(ds for ds in replay.days if ds <= held and ds not in present)
    if since in absent:
        raise ValueError(
            f"Of {since}, the first day of the replay, nothing was known on the morning after: "
            "choose as `since` a day whose sales came in time."
        )
    write_whole(folder / HELD, arrived.write_parquet)
    return replace(replay, held=held, absent=absent)


def _arrived(settings: Settings, end: date) -> pl.DataFrame:
    """What arrived in production's warehouse by the morning after `end`, in order; see the SQL."""
    if not settings.warehouse_path.exists():
        return pl.DataFrame()
    with connect(settings, timeout_seconds=WAIT_SECONDS) as con:
        rows = query(con, "arrivals", timezone=settings.timezone, history_days=intake.JUDGED_DAYS)
    return rows.filter(pl.col("arrives") <= end)


def _digest(settings: Settings, arrived: pl.DataFrame) -> str:
    """SHA-256 of settings, code and sales that a result depends on."""
    chosen = settings.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    chosen = {name: value for name, value in chosen.items() if not name.endswith("_port")}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    for room in CODE:
        files = (f for f in (ROOT / room).rglob("*") if f.suffix in (".py", ".sql", ".yml"))
        for file in sorted(f for f in files if ROOT / "data" / "state" not in f.parents):
            digest.update(file.read_bytes())
    digest.update(arrived.write_csv().encode())
    at = Path(settings.source_path or "none").absolute()
    root = Path(at.anchor)  # a wildcard may stand in any folder of the path
    files = at.rglob("*") if at.is_dir() else root.glob(str(at.relative_to(root)))
    for file in sorted(files):
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def with_sales(replay: Replay) -> Replay:
    """The replay without days that the source has no row of: nothing was sold then.

    Raises ValueError, with the weeks that fit, when its sales end before the replay does.
    """
    settings, held = replay.settings, replay.held
    with connect(settings) as con:
        last = sources.days_available(con, settings, settings.source)[1]
        last = max(last, held or last)
        if replay.end > last:
            fit = max(0, (last - replay.since).days - AHEAD + 1) // 7
            raise ValueError(
                f"A replay of {replay.weeks} weeks from {replay.since} needs sales up to "
                f"{replay.end}, and there are some up to {last}: {fit} weeks fit; ask for so many, "
                "or begin earlier."
            )
        due: list[tuple[date | None, date]] = [
            (ds, ds) for ds in replay.days if ds > max(replay.since, held or replay.since)
        ]
        sold = intake.with_rows(con, settings, settings.source, due)
    silent = {ds for _, ds in due} - {ds for _, ds in sold}
    return replace(replay, absent=replay.absent | silent)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file under another name first, renamed when complete."""
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    write(part)
    part.rename(path)


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file whole."""
    text = json.dumps(content, default=str, indent=1, sort_keys=True) + "\n"
    write_whole(path, lambda part: part.write_text(text))


@lru_cache(maxsize=1)
def memory_of(replay: Replay) -> Memory:
    """Boosters of all fits and folds so far: a training meets again what an earlier one fitted."""
    return Memory(replay.folder / "boosters")


def spent(replay: Replay) -> float:
    """CPU seconds so far, those included that fits took which were not done again.

    Only differences mean something: what lies between them would cost that much on its own.
    """
    return process_time() + memory_of(replay).seconds


def day(replay: Replay, cutoff: date) -> Day:
    """The cycle of one day: delivery, contracts, snapshot, features and their contract."""
    path = replay.folder / "days" / f"{cutoff}.json"
    if not path.exists():
        start = process_time()
        snapshot, failed = _cycle(replay, cutoff)
        seconds = process_time() - start
        found = {"snapshot": snapshot, "failed_checks": failed, "cpu_seconds": seconds}
        write_json(path, found)
    return Day(**json.loads(path.read_text()))


def _cycle(replay: Replay, cutoff: date) -> tuple[str, list[str]]:
    settings, as_of = replay.settings, known_at_morning(cutoff, replay.settings.timezone)
    with connect(settings) as con:
        for rows in _deliveries(replay, con, cutoff):
            taken = intake.receive(
                con, settings, rows, source=settings.source, as_of=as_of, with_plan=True
            )
            if taken.report:
                taken.report.require(taken.name)
        audit_sales(con, settings, as_of).require("The published sales")
        snapshot = snapshots.snapshot(con, settings, as_of, settings.horizon)
        write_features(settings, con, snapshot.folder)
        series = snapshot.series().height
        audited = audit_features(con, settings, cutoff, series, as_of)
        audited.require(f"The features of {cutoff}")
        failed = ledger.failed_checks(con, as_of - timedelta(days=1))
    if cutoff == replay.since:
        store.apply(settings)
    return snapshot.snapshot_id, failed


def _deliveries(replay: Replay, con: Connection, cutoff: date) -> list[pl.DataFrame]:
    """What arrived between the cutoff before and this one, with what was known on its morning.

    Rows come first, then their revisions, each in a delivery after the one that it revises.
    """
    settings, held = replay.settings, replay.held
    before = max((ds for ds in replay.days if ds < cutoff), default=None)
    fresh: list[pl.DataFrame] = []
    revised: list[pl.DataFrame] = []
    if held:
        is_new = pl.col("arrives") <= cutoff
        if before:
            is_new &= pl.col("arrives") > before
        rows = pl.scan_parquet(replay.folder / HELD).filter(is_new).collect()
        first = pl.col("version") == 1
        fresh.append(rows.filter(first).select(CONTENT))
        revised = rows.filter(~first).sort("version", maintain_order=True).partition_by("version")
    if held is None or cutoff > held:
        # The history that no warehouse holds comes with the first day, as it does in production.
        since = cutoff if before else held and held + timedelta(days=1)
        source = settings.source
        sales = sources.read_sales(con, settings, source=source, since=since, until=cutoff)
        fresh.append(sales.select(CONTENT))
    return [pl.concat(fresh), *(rows.select(CONTENT) for rows in revised)]


def snapshot_of(replay: Replay, cutoff: date) -> Path:
    """Folder of the snapshot that a day took."""
    return replay.settings.snapshots_dir / day(replay, cutoff).snapshot


def fit(replay: Replay, cutoff: date) -> str:
    """The version that is fitted on what was known at a cutoff; fitted once, whoever asks."""
    return _kept(replay, cutoff, DEFAULTS, lambda: train(replay, cutoff)[0])


def calibrate_last_week(replay: Replay, cutoff: date) -> str:
    """The version that repeats the last week, calibrated on what was known at a cutoff."""
    method = {"method": method_of(replay.settings.steps)}
    return _kept(replay, cutoff, method, lambda: last_week(data_of(replay, cutoff)))


def _kept(
    replay: Replay, cutoff: date, parameters: Mapping[str, object], make: Callable[[], Training]
) -> str:
    parts = [day(replay, cutoff).snapshot, parameters, replay.settings.seed]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    version = f"{cutoff}-{digest[:8]}"
    path = replay.folder / "fits" / f"{version}.json"
    if not path.exists():
        start = spent(replay)
        training = make()
        seconds = spent(replay) - start
        folder = replay.settings.champions_dir / version
        manifest = replace(training.manifest, version=version)
        forecaster.save(folder, training.booster_text, manifest)
        write_json(path, {"cpu_seconds": seconds})
    return version


@lru_cache(maxsize=1)
def train(replay: Replay, cutoff: date) -> tuple[Training, TrainingData]:
    """The training of a cutoff; kept until the next one, since the promotion gate asks for it."""
    data = data_of(replay, cutoff)
    return refit(data, DEFAULTS, seed=replay.settings.seed), data


def data_of(replay: Replay, cutoff: date) -> TrainingData:
    """What a training at a cutoff may see."""
    as_of = known_at_morning(cutoff, replay.settings.timezone)
    with connect(replay.settings) as con:
        versions = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=None)
    known = (frame.filter(pl.col("known_at") <= as_of) for frame in (versions, plan))
    data = training_data(replay.settings, snapshot_of(replay, cutoff), *known)
    return replace(data, memory=memory_of(replay))


def load(replay: Replay, version: str) -> Forecaster:
    """A version that was fitted."""
    return Forecaster.load(replay.settings.champions_dir / version)


def issue(replay: Replay, cutoff: date, versions: Iterable[str]) -> None:
    """Forecasts of versions and baselines from a cutoff, one file a model, where they lack."""
    folder = replay.folder / "issued" / str(cutoff)
    missing = [v for v in sorted(versions) if not (folder / f"{v}.parquet").exists()]
    if not missing:
        return
    start = process_time()
    models = [load(replay, version) for version in missing]
    rows = batch_forecasts(replay.settings, str(snapshot_of(replay, cutoff)), *models)
    seconds = (process_time() - start) / len(missing)
    for (model,), own in rows.group_by("model", maintain_order=True):
        write_json(folder / f"{model}.json", {"cpu_seconds": seconds})
        write_whole(folder / f"{model}.parquet", own.write_parquet)


def seconds_of(replay: Replay, unit: str) -> float:
    """CPU seconds that a finished unit took, such as `fits/VERSION` or `issued/CUTOFF/MODEL`."""
    return float(json.loads((replay.folder / f"{unit}.json").read_text())["cpu_seconds"])


def issued(replay: Replay, cutoff: date, model: str) -> pl.DataFrame:
    """What a model forecast from a cutoff: columns FORECAST and `model`."""
    return pl.read_parquet(replay.folder / "issued" / str(cutoff) / f"{model}.parquet")
