"""Overrides: what is answered is kept, until when one counts, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data import publication
from serving.api.planning import Overrides
from serving.routes.application import create_api

from .conftest import OVERRIDE

NOW = datetime(2017, 9, 11, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_an_override_that_could_not_be_written_is_refused(client: TestClient, state: Path) -> None:
    (state / "spool").write_text("a file where the folder should be")
    answer = client.post("/v1/overrides", json=OVERRIDE)
    assert answer.status_code == 503 and answer.json()["type"].endswith(":not-kept")
    assert not list((state / "overrides").iterdir())  # nor is it listed
    (state / "spool").unlink()
    assert client.post("/v1/overrides", json=OVERRIDE).status_code == 201
    (file,) = (state / "spool").iterdir()  # already there when the answer is
    assert "A street festival" in file.read_text()


def test_one_that_replicas_could_not_list_is_refused_before_it_is_kept(
    client: TestClient, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", full)
        answer = client.post("/v1/overrides", json=OVERRIDE)
    assert answer.status_code == 503 and answer.json()["type"].endswith(":not-kept")
    assert not any("festival" in f.read_text() for f in (state / "spool").glob("*"))


@pytest.fixture
def listed(client: TestClient, state: Path) -> Any:
    """Publishes overrides that are like OVERRIDE but for what is given; returns their list."""

    def ask(*changes: dict[str, Any]) -> Overrides:
        taken = client.post("/v1/overrides", json=OVERRIDE).json()
        rows = pl.DataFrame(
            [{**taken, "override_id": str(k), **change} for k, change in enumerate(changes)]
        ).with_columns(
            pl.col("since", "until").str.to_date(),
            pl.col("created_at", "expires_at").str.to_datetime(time_zone="UTC"),
            actual=pl.lit(None, pl.Float64),
            value_added=pl.lit(None, pl.Float64),
        )
        folder = state / "published"
        publication.write(folder, {"overrides": rows}, {"snapshot_id": "s1"}, NOW)
        return Overrides.model_validate_json(client.get("/v1/overrides").content)

    return ask


def test_an_override_counts_until_the_instant_it_expires(listed: Any) -> None:
    ends = {"0": NOW - SECOND, "1": NOW, "2": NOW + SECOND}
    found = listed(*({"expires_at": at.isoformat()} for at in ends.values()))
    active = {o.override_id: o.active for o in found.overrides}
    assert {k: active[k] for k in ends} == {"0": False, "1": False, "2": True}
    assert len(active) == 4 and all(active[k] for k in active.keys() - ends)  # the one just taken


def test_replayed_days_decide_whether_an_override_of_theirs_counts(
    service: Any, client: TestClient, listed: Any, state: Path
) -> None:
    listed({})
    today = TestClient(create_api(service), base_url="http://127.0.0.1")  # by the real clock

    def active() -> set[bool]:
        found = Overrides.model_validate_json(today.get("/v1/overrides").content)
        return {o.active for o in found.overrides}

    assert active() == {True}
    service.settings.__dict__["mode"] = "live"
    assert active() == {False}


def test_an_override_of_older_rules_is_still_listed(listed: Any) -> None:
    found = listed({"reason": "   ", "expires_at": "2090-01-01T00:00:00+00:00"})
    assert "   " in [o.reason for o in found.overrides]


@pytest.mark.parametrize(
    "expires_at",
    ["9999-12-31T23:59:59-12:00", "2019-09-13T00:00:00Z", "2017-09-10T00:00:00Z"],
)
def test_an_override_expires_in_a_time_that_people_mean(
    client: TestClient, expires_at: str
) -> None:
    assert client.post("/v1/overrides", json=OVERRIDE).status_code == 201
    answer = client.post("/v1/overrides", json=OVERRIDE | {"expires_at": expires_at})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == "/expires_at" and "expires_at lies" in error["detail"]


def test_a_blank_reason_is_none(client: TestClient) -> None:
    answer = client.post("/v1/overrides", json=OVERRIDE | {"reason": "  \t "})
    assert answer.status_code == 422 and answer.json()["errors"][0]["path"] == "/reason"
    kept = client.post("/v1/overrides", json=OVERRIDE | {"reason": "  a fair "})
    assert kept.json()["reason"] == "a fair"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"until": "2017-09-10"}, "until"),
        ({"until": "2017-12-01"}, "until"),
        ({"since": "2017-09-10"}, "2017-09-11 to 2017-10-08"),
        ({"reason": ""}, "3 to 500"),
        ({"units": -1}, "units"),
        ({"expires_at": "2017-09-20T00:00:00"}, "time zone"),
        ({"expires_at": "2017-09-10T00:00:00Z"}, "last day of sales"),
    ],
)
def test_an_override_that_makes_no_sense_says_why(
    client: TestClient, change: dict[str, Any], says: str
) -> None:
    answer = client.post("/v1/overrides", json=OVERRIDE | change)
    assert answer.status_code == 422 and says in answer.json()["errors"][0]["detail"]
