import re

import pytest

from checks import alerts
from data.settings import ROOT

KINDS = [
    *("flow ingest", "quarantined rows", "lost records", "api 500 unexpected", "api 404 invalid"),
    *("api 503 no-champion", "api 503 stale-features", "api 200 degraded", "a new kind"),
    "api 503 not-published",
    *("retrain hold", "retrain alert", "promote hold"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_has_an_owner_and_a_part_of_the_runbook(kind: str) -> None:
    owner, next_step = alerts.guide(kind)
    page, anchor = next_step.split("#")
    heads = re.findall(r"^## (.+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    assert owner and anchor in {head.lower().replace(" ", "-") for head in heads}


def test_a_missing_model_and_a_server_that_fails_are_told_apart() -> None:
    assert alerts.guide("api 503 no-champion")[0] == "model"
    assert alerts.guide("api 503 unexpected")[0] == "operator"
    assert alerts.guide("api 422 invalid")[0] == "client"
