"""Runs the daily cycle over a range of history under several policies of retraining."""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from checks import replay_report
from checks.policies import policy
from checks.replay import Replay, replay_of, with_sales
from checks.replay_decisions import walk
from checks.replay_results import Results, results
from data.settings import Settings, command_settings
from flows.slots import done
from models.registry import RegistryUnreachable
from models.tracking import log_report

POLICIES = ["never", "every 28 days", "always", "gated"]


@task(task_run_name="week {week}")
def play(replay: Replay, week: int) -> None:
    """The days of one week; what an earlier run has finished is not done again."""
    since = replay.since + timedelta(days=7 * week - 1)
    walk(replay, since, since + timedelta(weeks=1))


@task
def judge(replay: Replay) -> Results:
    """Compares the policies by the sales that followed."""
    return results(replay)


@task
def write(replay: Replay, found: Results) -> list[Path]:
    """Writes the report, the table and the results."""
    return replay_report.write(replay.folder, found)


@task
def log(settings: Settings, found: Results, files: list[Path]) -> str:
    """Logs the replay to MLflow; says so when there is no server."""
    name = f"{found.since} to {found.until}"
    try:
        return log_report(
            settings,
            "replay",
            name,
            params=replay_report.params(found),
            metrics=replay_report.metrics(found),
            files=files,
        )
    except RegistryUnreachable as error:
        return f"not logged: {error}"


@flow(flow_run_name="replay, {weeks} weeks")
def replay(
    since: date | None = None,
    weeks: Annotated[int, Field(ge=1)] = 12,
    policies: Annotated[list[str], Field(min_length=1)] = POLICIES,
) -> dict[str, str]:
    """Shows what each policy of retraining would have given and cost, on your own history.

    Args:
        since: last day of sales that the first training sees; empty takes the first cutoff.
        weeks: weeks of daily forecasts from there; one more week of sales judges the last ones.
        policies: never, always, gated, or every N days.
    """
    settings = Settings()
    start = since or settings.first_cutoff
    history = with_sales(replay_of(settings, start, weeks, [policy(name) for name in policies]))
    for week in range(weeks + 1):
        play(history, week)
    found = judge(history)
    files = write(history, found)
    logged = log(settings, found, files)
    create_markdown_artifact(
        key="replay",
        markdown=replay_report.markdown(found, files[0], logged),
        description=found.sentence,
    )
    return done(
        message=f"{found.sentence} Report: {files[0]}",
        data={"report": str(files[0]), "logged": logged, **found.hashes},
    )


if __name__ == "__main__":
    command_settings()  # a wrong one is said before Prefect starts a run
    replay()
