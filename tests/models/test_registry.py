"""A real MLflow server of the test's own."""

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import mlflow
import polars as pl
import pytest
from mlflow.exceptions import RestException

from checks.gates import decide_promotion
from data.settings import Settings
from models import forecaster, registry
from models.backtest import TrainingData
from models.forecaster import Forecaster, NoChampion, Unusable
from models.promotion import evidence
from models.tracking import log_report
from models.training import Training, last_week, train
from serving import rollback
from stack.programs import MLFLOW, command_lines, environment

CUTOFF = date(2017, 9, 10)
CALLS: list[Callable[[Settings], object]] = [
    lambda settings: registry.version_of(settings, registry.CHAMPION),
    lambda settings: registry.parameters_of(settings, "1"),
    lambda settings: registry.export(settings, "1"),
    registry.load,
    registry.alias_history,
    lambda settings: registry.promote(settings, "1", at=NOW, why="better"),
    lambda settings: registry.roll_back(settings, "1", at=NOW, why="odd"),
]
NOW, HOUR = datetime(2026, 11, 24, 9, tzinfo=UTC), timedelta(hours=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose MLflow server answers."""
    folder = tmp_path_factory.mktemp("mlflow")
    settings = Settings(_env_file=None, state_dir=folder, mlflow_port=free_port())
    command = command_lines(settings, str(folder))[MLFLOW]
    process = subprocess.Popen(command, env=environment(settings), cwd=folder)
    try:
        for _ in range(600):
            try:
                httpx.get(f"{settings.mlflow_url}/health", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield settings
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def trained(training_frames: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("study")
    return train(training_frames, storage=folder / "j", name="n", trials=1, seconds=60, seed=1)


def with_snapshot(settings: Settings, data: TrainingData) -> None:
    folder = settings.snapshots_dir / data.snapshot_id
    folder.mkdir(parents=True, exist_ok=True)
    data.sales.write_parquet(folder / "sales.parquet")


def test_versions_go_from_challenger_to_champion_to_previous(
    server: Settings, trained: Training, training_frames: TrainingData
) -> None:
    with_snapshot(server, training_frames)
    assert registry.version_of(server, registry.CHAMPION) is None
    with pytest.raises(NoChampion, match="No model has been promoted"):
        registry.export(server)
    first_evidence = evidence(server, trained, training_frames)
    assert first_evidence["has_champion"] is False and first_evidence["ratio"] is None

    one = registry.register(server, trained, training_frames)
    with registry.connected(server) as client:
        card = client.get_model_version(registry.MODEL, one).description
    assert f"sales up to {CUTOFF}, snapshot {training_frames.snapshot_id}" in card
    assert f"{trained.manifest.backtest['wrmsse mean']:.3f}, of seasonal naive" in card
    assert f"{server.mlflow_url}/#/experiments/" in card
    assert registry.version_of(server, registry.CHALLENGER) is None
    registry.challenge(server, one)
    assert registry.version_of(server, registry.CHALLENGER) == one
    assert registry.version_of(server, registry.CHAMPION) is None
    registry.promote(server, one, at=NOW, why="the first")
    two = registry.register(server, trained, training_frames)
    registry.promote(server, two, at=NOW + HOUR, why="better")
    assert registry.version_of(server, registry.CHAMPION) == two
    assert registry.version_of(server, registry.PREVIOUS) == one
    registry.promote(server, two, at=NOW + 2 * HOUR, why="the same again")
    assert registry.version_of(server, registry.PREVIOUS) == one

    exported = registry.export(server)
    model = Forecaster.load(exported.folder)
    assert model.version == exported.version == two
    features = training_frames.features.filter(pl.col("cutoff") == CUTOFF)
    rows = model.forecast(features, training_frames.plan, 28)
    assert rows["y_hat"].is_finite().all()
    assert registry.load(server).version == two

    # The champion was trained on the days of all origins: its configuration is fitted there again,
    # with the parameters that its run keeps.
    assert registry.parameters_of(server, two) == trained.parameters
    seen = evidence(server, trained, training_frames)
    assert seen["has_champion"] is True and seen["ratio"] == seen["ratio_upper"] == 1.0
    assert seen["refitted_origins"] == seen["origins"] >= 4
    assert seen["moved"] == 0 and seen["paired_bias"] == pytest.approx(seen["champion_bias"])

    registry.roll_back(server, one, at=NOW + 3 * HOUR, why="it answered 503")
    assert registry.version_of(server, registry.CHAMPION) == one
    assert registry.version_of(server, registry.PREVIOUS) is None
    moves = registry.alias_history(server)
    assert [(m.version, m.why) for m in moves] == [
        (one, "the first"),
        (two, "better"),
        (one, "rolled back: it answered 503"),
    ]
    assert registry.served_at(moves, NOW - HOUR) is None
    assert registry.served_at(moves, NOW + 2 * HOUR) == moves[1]
    assert registry.served_at(moves, NOW + 9 * HOUR) == moves[2]


def test_a_version_that_is_not_there_is_named(server: Settings) -> None:
    with pytest.raises(NoChampion, match="has no version '99'"):
        registry.export(server, "99")


def test_a_dead_server_is_one_sentence_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(_env_file=None, state_dir=tmp_path, mlflow_port=free_port())
    for ask in CALLS:
        with pytest.raises(registry.RegistryUnreachable, match=r"does not answer; start it with"):
            ask(settings)
    # A rollback has swapped by then, and says how to complete it.
    (settings.champions_dir / "6").mkdir(parents=True)
    monkeypatch.setattr(rollback, "command_settings", lambda: settings)
    monkeypatch.setattr(rollback, "previous_version", lambda _settings: "6")
    monkeypatch.setattr(rollback, "swap", lambda *_, **__: None)
    assert rollback.main("odd orders") == 1
    said = capsys.readouterr().err
    assert "Version 6 serves again (odd orders)" in said and "rollback deployment with ver" in said


def test_a_database_that_cannot_be_read_is_one_sentence(
    server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "(sqlite3.DatabaseError) file is not a database\n[SQL: SELECT 1]\n"
    said += "(Background on this error at: https://sqlalche.me/e/20/4xp6)"

    def unreadable(*_: object) -> None:
        raise RestException({"error_code": "BAD_REQUEST", "message": said})

    for name in ("get_model_version", "get_model_version_by_alias", "get_registered_model"):
        monkeypatch.setattr(registry.MlflowClient, name, unreadable)
    for ask in CALLS:
        with pytest.raises(registry.RegistryUnreachable) as error:
            ask(server)
        told = str(error.value)
        assert "can't read its database (BAD_REQUEST: (sqlite3.DatabaseError) file is" in told
        assert "runbook" in told and "\n" not in told


def test_a_report_is_logged_with_its_figures_and_files(server: Settings, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<p>Choose one</p>")
    address = log_report(
        server,
        "replay",
        "12 weeks",
        params={"recommended": "gated", "digest scores": "5" * 64},
        metrics={"every 28 days/loss": 0.6},
        files=[page],
    )
    assert address.startswith(f"{server.mlflow_url}/#/experiments/")
    run = mlflow.get_run(address.rsplit("/", 1)[1])
    assert run.data.metrics == {"every 28 days/loss": 0.6}
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.html") == page.read_text()


def test_a_model_without_a_booster_is_a_version_like_any_other(
    server: Settings, training_frames: TrainingData
) -> None:
    with_snapshot(server, training_frames)
    training = last_week(training_frames)
    version = registry.register(server, training, training_frames)
    registry.challenge(server, version)
    assert registry.version_of(server, registry.CHALLENGER) == version
    registry.promote(server, version, at=NOW + 10 * HOUR, why="fall back to seasonal naive")
    assert registry.alias_history(server)[-1].why == "fall back to seasonal naive"
    model, refused = registry.opponent(server)
    assert not refused
    assert model and (model.version, model.method) == (version, "seasonal naive")
    assert not (server.champions_dir / version / forecaster.BOOSTER).exists()
    features = training_frames.features.filter(pl.col("cutoff") == CUTOFF)
    rows = model.forecast(features, training_frames.plan, 28)
    direct = Forecaster(None, training.manifest).forecast(features, training_frames.plan, 28)
    assert rows.equals(direct)
    assert registry.parameters_of(server, version) == {"method": "seasonal naive"}


def test_after_an_upgrade_a_training_has_no_champion_to_beat_and_the_decision_names_it(
    server: Settings, trained: Training, training_frames: TrainingData
) -> None:
    with_snapshot(server, training_frames)
    version = registry.register(server, trained, training_frames)
    registry.promote(server, version, at=NOW + 20 * HOUR, why="before the upgrade")
    folder = registry.export(server).folder
    old = json.loads((folder / forecaster.MANIFEST).read_text())
    del old["calendar_share"]
    (folder / forecaster.MANIFEST).write_text(json.dumps(old))
    with pytest.raises(Unusable, match="does not have the SHA-256"):  # damaged is no upgrade
        evidence(server, trained, training_frames)

    digests = json.loads((folder / forecaster.DIGESTS).read_text())
    digests[forecaster.MANIFEST] = hashlib.sha256(json.dumps(old).encode()).hexdigest()
    (folder / forecaster.DIGESTS).write_text(json.dumps(digests))
    found = evidence(server, trained, training_frames)
    assert found["has_champion"] is False
    measured = {**found, "naive_ratio": 0.7, "bias": 0.0, "coverage_80": 0.8}
    decision = decide_promotion(**measured)
    assert decision.outcome == "pass"
    assert decision.reasons[0].startswith("no champion to compare with; loss is 0.70 times")
    assert f"Model version {version} has a manifest of another shape" in decision.reasons[1]


def test_where_there_is_no_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert registry._commit() == "unknown"
