"""Fills the reference blocks of documents from the code: `<!-- reference NAME -->…<!-- end -->`.

`<!-- constant MODULE.NAME [MiB] -->…<!-- end -->` is the value of a constant, such as a limit.
"""

import ast
import importlib
import inspect
import json
import re
import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from prefect.utilities.callables import parameter_docstrings
from pydantic.fields import FieldInfo

from data.settings import ROOT, Settings
from docs import scorecard
from models import metrics as measured
from serving.metrics import Metrics

BLOCK = re.compile(r"<!-- reference (\w+) -->.*?<!-- end -->", re.DOTALL)
CONSTANT = re.compile(r"<!-- constant ([\w.]+)( MiB)? -->.*?<!-- end -->")
ERRORS = ("data", "feature_repo", "models", "checks", "serving")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def settings() -> str:
    """Every setting with its default."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "data/state" if name == "state_dir" else field.default
        default = json.dumps(default) if isinstance(default, tuple) else default  # as it is typed
        shown = f"`{default}`" if default != "" else "empty"
        rows.append((f"`SHELFCAST_{name.upper()}`", shown, _meaning(field)))
    return _table(("variable", "default", "meaning"), rows)


def _meaning(field: FieldInfo) -> str:
    """What a setting means, with its bounds where it has both."""
    least = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    most = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    said = str(field.description)
    return said if None in (least, most) else f"{said.rstrip('.')}, {least} to {most}."


def deployments() -> str:
    """Every deployment with its schedules, what it does and its parameters."""
    rows = []
    for found in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        module, name = found["entrypoint"].split(":")
        flow = getattr(importlib.import_module(module), name)
        about = parameter_docstrings(inspect.getdoc(flow.fn))
        parameters = [
            f"`{p}`: {' '.join(about.get(p, '').split())}"
            for p in inspect.signature(flow.fn).parameters
        ]
        schedules = ", ".join(f"`{s['cron']}`" for s in found.get("schedules", []))
        triggers = ", ".join(f"event `{e}`" for t in found.get("triggers", []) for e in t["expect"])
        when = "; ".join(filter(None, [schedules, triggers])) or "on demand"
        name = f"`{found['name']}/{found['name']}`"
        rows.append((name, when, found["description"], "<br>".join(parameters)))
    return _table(("deployment", "when", "what it does", "parameters"), rows)


def artifacts() -> str:
    """What each deployment leaves as artifacts: of its module, and of the helpers that it imports.

    A part of a key that is only known in the run is `*`.
    """
    trees = {p.stem: ast.parse(p.read_text()) for p in sorted((ROOT / "flows").glob("*.py"))}
    found = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    modules = {d["name"]: d["entrypoint"].split(":")[0].removeprefix("flows.") for d in found}
    rows = []
    for name, module in modules.items():
        imported = [n.module for n in ast.walk(trees[module]) if isinstance(n, ast.ImportFrom)]
        others = {str(m).removeprefix("flows.") for m in imported} & {*trees} - {*modules.values()}
        keys = [k for stem in (module, *sorted(others)) for k in _artifact_keys(trees[stem])]
        if keys:
            rows.append((f"`{name}`", ", ".join(f"`{key}`" for key in keys)))
    return _table(("deployment", "artifacts"), rows)


def _artifact_keys(tree: ast.Module) -> list[str]:
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    made = [c for c in calls if re.fullmatch(r"create_\w+_artifact", ast.unparse(c.func))]
    keys = [ast.unparse(k.value) for c in made for k in c.keywords if k.arg == "key"]
    return [re.sub(r"\{.*?\}", "*", re.sub(r"^f?'|'$", "", key)) for key in keys]


def features() -> str:
    """Every field of every feature view, and which service reads which view."""
    declared = runpy.run_path(str(ROOT / "feature_repo" / "definitions.py")).values()
    kinds: dict[str, list[Any]] = {}
    for thing in declared:
        kinds.setdefault(type(thing).__name__, []).append(thing)
    parts = []
    for view in kinds["FeatureView"]:
        keys = " and ".join(view.entities)
        rows = [(f"`{f.name}`", str(f.dtype), f.description) for f in view.features]
        table = _table(("feature", "type", "meaning"), rows)
        parts.append(
            f"## `{view.name}`\n\n{view.description} One row per {keys} and cutoff.\n\n{table}"
        )
    for service in kinds["FeatureService"]:
        views = ", ".join(f"`{p.name}`" for p in service.feature_view_projections)
        parts.append(f"Service `{service.name}` reads {views}. {service.description}")
    return "\n\n".join(parts)


def contracts() -> str:
    """Every contract with the checks that it names."""
    parts = []
    for path in sorted((ROOT / "checks" / "contracts").glob("*.yml")):
        text = path.read_text()
        about = " ".join(re.findall(r"^# ?(.*)", text.split("dataset:")[0], re.MULTILINE))
        found = yaml.safe_load(text)
        rules = [str(rule.get("name", kind)) for c in found["checks"] for kind, rule in c.items()]
        for column in found["columns"]:
            for kind, rule in [kv for c in column.get("checks", []) for kv in c.items()]:
                said = (rule or {}).get("name", kind)
                rules.append(f"`{column['name']}` {said}")
        parts.append(f"## `{path.name}`\n\n{about}\n\n" + "\n".join(f"- {r}" for r in rules))
    return "\n\n".join(parts)


def errors() -> str:
    """Every named error of the rooms."""
    rows = []
    for room in ERRORS:
        for path in sorted((ROOT / room).glob("*.py")):
            if path.stem in ("__init__", "definitions", "app"):
                continue
            module = importlib.import_module(f"{room}.{path.stem}")
            for name, found in inspect.getmembers(module, inspect.isclass):
                if issubclass(found, Exception) and found.__module__ == module.__name__:
                    about = (inspect.getdoc(found) or "").splitlines()[0]
                    rows.append((f"`{module.__name__}.{name}`", about))
    return _table(("error", "means"), rows)


def metrics() -> str:
    """The measures of forecasts, and what the API tells Prometheus."""
    measures = [
        (f"`{name}`", (inspect.getdoc(found) or "").splitlines()[0])
        for name, found in inspect.getmembers(measured, inspect.isfunction)
        if found.__module__ == measured.__name__
        and inspect.signature(found).return_annotation in (float, dict[str, float])
    ]
    told = {"counter": "`{}_total`", "histogram": "`{0}_bucket`, `{0}_sum`, `{0}_count`"}
    served = [
        (told.get(family.type, "`{}`").format(family.name), family.type, family.documentation)
        for family in Metrics().registry.collect()
    ]
    forecasts = _table(("function of `models.metrics`", "measures"), measures)
    return f"{forecasts}\n\n{_table(('metric', 'type', 'meaning'), served)}"


REFERENCES: dict[str, Callable[[], str]] = {
    **{
        f.__name__: f
        for f in (settings, deployments, artifacts, features, contracts, metrics, errors)
    },
    "score": scorecard.card,
}


def fill(text: str) -> str:
    """The text with every reference block made anew from the code."""

    def block(found: re.Match[str]) -> str:
        name = found.group(1)
        return f"<!-- reference {name} -->\n{REFERENCES[name]()}\n<!-- end -->"

    def inline(found: re.Match[str]) -> str:
        name, unit = found.group(1), found.group(2) or ""
        return f"<!-- constant {name}{unit} -->{constant(name, unit)}<!-- end -->"

    return CONSTANT.sub(inline, BLOCK.sub(block, text))


def constant(name: str, unit: str = "") -> str:
    """The value of a constant; bytes in MiB, a pair as a range, more values as a list."""
    module, attribute = name.rsplit(".", 1)
    value = getattr(importlib.import_module(module), attribute)
    values = value if isinstance(value, tuple) else (value,)
    if unit:
        return f"{value // 2**20:,}{unit}"
    shown = [f"{v:,}" if isinstance(v, int) else f"{v:g}" for v in values]
    return " to ".join(shown) if len(shown) < 3 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def pages() -> list[Path]:
    """The documents that hold reference blocks."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [p for p in found if BLOCK.search(p.read_text()) or CONSTANT.search(p.read_text())]
