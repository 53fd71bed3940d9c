"""Overrides: what is answered is kept, until when one counts, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

GROCERY = {"store_id": "1", "item_id": "GROCERY"}
OVERRIDE = {
    **GROCERY,
    "since": "2017-09-11",
    "until": "2017-09-12",
    "units": 20,
    "reason": "A street festival",
    "expires_at": "2017-09-20T00:00:00Z",
}


def test_an_override_that_could_not_be_written_is_refused(client: TestClient, state: Path) -> None:
    (state / "spool").write_text("a file where the folder should be")
    answer = client.post("/v1/overrides", json=OVERRIDE)
    assert answer.status_code == 503 and answer.json()["type"].endswith(":not-kept")
    (state / "spool").unlink()
    assert client.post("/v1/overrides", json=OVERRIDE).status_code == 201
    (file,) = (state / "spool").iterdir()  # already there when the answer is
    assert "A street festival" in file.read_text()
