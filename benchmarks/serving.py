"""Measures the forecast API; writes benchmarks/results/serving.json. The stack has to be up.

`python -m benchmarks.serving [PART ...]` measures some of PARTS; those of USUAL without one.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks import planner, report, resilience
from benchmarks.fuzz import fuzz
from benchmarks.hostile import hostile_rows
from benchmarks.inference import batch_row, m5_rows, profile_rows
from benchmarks.rest import mlflow_rows, ready_matrix_rows, rest_rows, served
from benchmarks.rows import Row, plain_row
from data.settings import Settings, command_settings
from serving.routes.application import create_api
from serving.service import ForecastService

EXAMPLES = 320  # per operation and mode: more than 10,000 cases


def rest(settings: Settings) -> list[Row]:
    return rest_rows(settings)


def mlflow(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [*mlflow_rows(settings, Path(folder)), *ready_matrix_rows(settings, Path(folder))]


def inference(settings: Settings) -> list[Row]:
    version, series = served(settings)
    rows = profile_rows(settings, version)
    return [*rows, batch_row(settings, version, series), *m5_rows(settings, version)]


def fuzzing(settings: Settings) -> list[Row]:
    """In this process, on the real state; what it writes goes to a folder that is thrown away."""
    version = (settings.champions_dir / "CURRENT").read_text().strip()
    service = ForecastService()
    folder = str(settings.champions_dir / version)
    with tempfile.TemporaryDirectory() as state:
        # The same state under another name, but for what the API writes: nothing made up is kept.
        for path in settings.state_dir.iterdir():
            if path.name not in ("spool", "overrides", "replicas"):
                (Path(state) / path.name).symlink_to(path)
        service.configure({"state_dir": state, "version": version, "champion": folder})
        found = fuzz(create_api(service), EXAMPLES)
    for said in found.wrong[:20]:
        print(said, file=sys.stderr)
    return [
        plain_row("fuzz_cases", "requests", found.cases, target=10_000),
        resilience.at_most("fuzz_5xx", "answers", found.server_errors, 0),
        resilience.at_most("fuzz_undocumented", "answers", len(found.wrong), 0),
    ]


def controller(settings: Settings) -> list[Row]:
    title = "ray::ServeController"
    return resilience.kill_rows(settings, "controller", title, kills=3, failed=0)


def proxy(settings: Settings) -> list[Row]:
    return resilience.kill_rows(settings, "proxy", "haproxy", kills=3)


def kill(settings: Settings) -> list[Row]:
    with resilience.replicas(settings, 2):
        title = resilience.REPLICA
        return resilience.kill_rows(settings, "replica", title, kills=20, failed=0.001)


def soak(settings: Settings) -> list[Row]:
    return resilience.soak_rows(settings, minutes=float(os.environ.get("MINUTES", "30")))


PARTS: dict[str, Callable[[Settings], list[Row]]] = {
    "rest": rest,
    "mlflow": mlflow,
    "inference": inference,
    "swap": resilience.swap_rows,
    "overload": resilience.overload_rows,
    "hostile": hostile_rows,
    "page": planner.measure,
    # After the others: they leave what is not warm yet.
    "controller": controller,
    "proxy": proxy,
    "kill": kill,
    "fuzz": fuzzing,
    "soak": soak,
}
USUAL = [part for part in PARTS if part not in ("fuzz", "soak")]  # those two take their time


def main(parts: list[str]) -> int:
    """Measures, prints and keeps the rows; 2 for an unknown part.

    1 when a target is missed or a part fails, which does not keep the others from being measured.
    """
    if unknown := set(parts) - PARTS.keys():
        print(f"There is no {', '.join(unknown)}; there are {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    settings = command_settings()
    rows: list[Row] = []
    failed = False
    for part in parts or USUAL:
        print(f"{part} …", flush=True)
        start = time.monotonic()
        try:
            found = PARTS[part](settings)
        except Exception:
            traceback.print_exc()
            failed = True
            continue
        for row in found:
            print({k: v for k, v in row.items() if v is not None}, flush=True)
        print(f"{part} took {time.monotonic() - start:.0f} s", flush=True)
        rows += found
        report.save("serving", found, merge=True)
    return int(failed or any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
