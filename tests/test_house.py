"""The house itself: what is imported from where, what is deployed, what is documented."""

import importlib
import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from data.settings import ROOT, Settings

ROOMS = ["flows", "serving", "checks", "models", "feature_repo", "data"]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_imported_from_this_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_no_file_that_a_tool_loads_by_its_stem_hides_another_module() -> None:
    # Prefect may put flows/ first on the path, the Feast command line feature_repo/.
    taken = {*sys.stdlib_module_names, *packages_distributions(), *ROOMS}
    flows = {f.stem for f in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert flows.isdisjoint(taken)
    assert "definitions" not in taken


def test_the_feast_command_line_loads_the_definitions_alone() -> None:
    ignored = set((ROOT / "feature_repo" / ".feastignore").read_text().split())
    files = {f.name for f in (ROOT / "feature_repo").glob("*.py")}
    assert files - ignored == {"definitions.py"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_deployments_load_describe_themselves_and_keep_time_in_a_zone(
    deployment: dict[str, object],
) -> None:
    module, name = str(deployment["entrypoint"]).split(":")
    flow = getattr(importlib.import_module(module), name)
    assert flow.name == deployment["name"] and flow.fn.__doc__
    assert deployment["description"] and deployment["tags"]
    for schedule in deployment.get("schedules", []):  # type: ignore[attr-defined]
        assert schedule["timezone"] == Settings(_env_file=None).timezone and schedule["slug"]


def test_every_deployment_the_system_promises_is_there() -> None:
    names = {d["name"] for d in DEPLOYMENTS}
    assert names == {
        *("ingest", "materialize", "train", "deploy", "forecast", "monitor", "retrain"),
        *("pipeline", "collect", "rollback", "fall-back", "replay", "reissue"),
    }


def test_every_setting_is_documented_as_it_is() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        default = "data/state" if name == "state_dir" else field.default
        typed = json.dumps(default) if isinstance(default, tuple) else default
        shown = f"`{typed}`" if typed != "" else "empty"
        about = str(field.description).rstrip(".")
        assert f"| `SHELFCAST_{name.upper()}` | {shown} | {about}" in page


def test_every_deployment_is_documented() -> None:
    page = (ROOT / "docs" / "deployments.md").read_text()
    for deployment in DEPLOYMENTS:
        assert f"`{deployment['name']}/{deployment['name']}`" in page


def test_every_artifact_is_documented() -> None:
    page = (ROOT / "docs" / "deployments.md").read_text()
    source = "".join(f.read_text() for f in (ROOT / "flows").glob("*.py"))
    keys = re.findall(r"_artifact\(\s*key=f?\"([\w-]+)", source)
    assert len(keys) == source.count("_artifact(") > 10
    assert all(f"`{key}" in page for key in keys)
