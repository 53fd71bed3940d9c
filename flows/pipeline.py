"""The whole main job in order, leaving out what is done already."""

from datetime import date, timedelta

from prefect import flow, task

from checks.gates import GateDecision
from data.settings import Settings
from data.warehouse import connect
from flows.collect import collect
from flows.deploy import deploy
from flows.forecast import forecast
from flows.ingest import ingest
from flows.materialize import materialize
from flows.retrain import retrain
from flows.slots import clock, done, writing
from flows.train import train
from models import registry
from models.forecaster import NoChampion
from serving.deploy import served_model


@task(name="last day")
def _day(settings: Settings) -> date:
    """The last day of sales that is loaded; the smallest date when there is none."""
    with writing(), connect(settings) as con:
        return clock(settings, con)[0] or date.min


@flow(flow_run_name="pipeline, {weeks} weeks")
def pipeline(weeks: int = 4) -> GateDecision:
    """Loads, trains, serves and forecasts at the first cutoff, then goes on for some weeks.

    Raises NoChampion when there is no model yet and the first one is not promoted.

    Args:
        weeks: weeks of daily deliveries after the first cutoff, each ended by a forecast.
    """
    settings = Settings()
    skipped = []
    if _day(settings) < settings.first_cutoff:
        ingest(until=settings.first_cutoff)
    else:
        skipped.append("history is loaded")
    materialize()
    if registry.version_of(settings, registry.CHAMPION) is None:
        if train() is None:
            raise NoChampion(
                "The first training was not promoted, so that there is nothing to serve; the "
                "artifact gate-promote says why. Run the pipeline again once that is mended."
            )
    else:
        skipped.append("a champion is trained")
    champion = registry.version_of(settings, registry.CHAMPION)
    if (served_model(settings) or {}).get("version") != champion:
        deploy()
    else:
        skipped.append(f"version {champion} serves")
    forecast()
    end = settings.first_cutoff + timedelta(weeks=weeks)
    if _day(settings) >= end:
        skipped.append(f"sales are loaded through {_day(settings)}")
    while (day := _day(settings)) < end:
        until = day
        while until < end and _day(settings) == day:  # a holiday may last for weeks
            until = min(until + timedelta(weeks=1), end)
            ingest(until=until)
        if _day(settings) == day:
            skipped.append(f"no sales between {day} and {end}")
            break
        materialize()
        forecast()
    collect()
    decision = retrain()
    note = f"skipped: {', '.join(skipped)}" if skipped else "nothing was skipped"
    return done(message=note, data=decision)
