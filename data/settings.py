"""Every setting of the system, read once from the environment."""

import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from data.steps import Steps

ROOT = Path(__file__).resolve().parent.parent


def _month_day(text: str) -> str:
    with suppress(ValueError):
        if f"{date.fromisoformat(f'2024-{text}'):%m-%d}" == text:  # of a leap year
            return text
    raise ValueError("it should be a month and a day, of two digits each")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no name, a folder of zones, not found
        raise ValueError("it should be a time zone of the IANA database") from None
    return name


def _country(code: str) -> str:
    import holidays  # takes a third of a second

    try:
        holidays.country_holidays(code)
    except NotImplementedError:
        raise ValueError("it should be a country's code of ISO 3166") from None
    return code


class Settings(BaseSettings):
    """Settings from `SHELFCAST_*` environment variables or a `.env` file in the project's root."""

    model_config = SettingsConfigDict(
        env_prefix="SHELFCAST_", env_file=ROOT / ".env", frozen=True, extra="ignore"
    )

    state_dir: Path = Field(
        default=ROOT / "data" / "state",
        description="Folder of everything that is written at run time.",
    )
    mode: Literal["replay", "live"] = Field(
        default="replay",
        description="replay: the day after the last one loaded plays today; live: the clock does.",
    )

    source: str = Field(
        default="completejourney", description="Name of the SQL file in data/sources to read from."
    )
    source_path: str = Field(
        default="",
        description="File or glob of the csv and parquet sources, folder of the m5 source.",
    )
    grain: Literal["department", "category"] = Field(
        default="department", description="What an item is in The Complete Journey data."
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="America/New_York",
        description="Time zone of the business day; schedules keep that of prefect.yaml.",
    )
    currency: str = Field(
        default="$", max_length=8, description="Sign of the currency that prices are in."
    )
    frequency: Literal["1d", "1w"] = Field(
        default="1d",
        description="Step of the sales: days, or weeks named by their last day.",
    )
    closed_days: tuple[Annotated[str, AfterValidator(_month_day)], ...] = Field(
        default=("12-25",), description="Days (month-day) on which every store is closed."
    )
    holiday_country: Annotated[str, AfterValidator(_country)] = Field(
        default="US",
        validate_default=False,
        description="Country whose public holidays the calendar features use.",
    )

    first_cutoff: date = Field(
        default=date(2017, 9, 10),
        description="Last day of sales that the first training sees; series are chosen on it.",
    )
    series_min_days: int = Field(
        default=70, ge=1, description="Selling days that a series needs by the first cutoff."
    )
    series_active_days: int = Field(
        default=56, ge=1, description="A series must have sold within this many days before it."
    )
    horizon: int = Field(default=28, ge=1, le=28, description="Steps ahead that models forecast.")

    trials: int = Field(default=12, ge=1, description="Optuna trials of a training.")
    tuning_seconds: int = Field(
        default=100, ge=1, description="Time limit of the search; a started trial is finished."
    )
    stockouts_missing: bool = Field(
        default=True, description="Leave probable stock-outs out of what models learn from."
    )
    seed: int = Field(default=7, description="Seed of the search, the boosters and the samples.")

    maturity_days: int = Field(
        default=7,
        ge=0,
        description="Days after which a day's sales count as final; later revisions are kept too.",
    )

    drift_statistics: Literal["alibi", "scipy"] = Field(
        default="alibi",
        description="Library that computes drift statistics; alibi-detect is under BSL 1.1.",
    )

    cpu_hour_price: float = Field(
        default=0.05, ge=0, description="Price of one CPU core for an hour, for the replay's bill."
    )

    replicas: int = Field(
        default=1,
        ge=1,
        description="Processes that answer forecasts; with two, one that dies costs no answer.",
    )

    host: str = Field(default="127.0.0.1", description="Address that every server binds to.")
    prefect_port: int = Field(default=4200, description="Port of the Prefect server and UI.")
    mlflow_port: int = Field(default=5000, description="Port of the MLflow server and UI.")
    serve_port: int = Field(default=8000, description="Port of the forecast API.")
    ray_port: int = Field(default=6379, description="Port of the Ray head (GCS).")
    ray_dashboard_port: int = Field(default=8265, description="Port of the Ray dashboard and API.")
    ray_agent_port: int = Field(default=52365, description="Port of Ray's dashboard agent.")
    ray_metrics_port: int = Field(default=8085, description="Port of Ray's Prometheus metrics.")
    ray_client_port: int = Field(default=9991, description="Port of the Ray client server.")

    @property
    def steps(self) -> Steps:
        """The steps of the sales: how long one is, and which are none."""
        return Steps({"1d": 1, "1w": 7}[self.frequency], self.closed_days)

    @property
    def warehouse_path(self) -> Path:
        """DuckDB file; one process at a time may have it open."""
        return self.state_dir / "warehouse.duckdb"

    @property
    def snapshots_dir(self) -> Path:
        """One folder of Parquet files per snapshot id, never changed once written."""
        return self.state_dir / "snapshots"

    @property
    def features_dir(self) -> Path:
        """Feast's offline store: `VIEW/YYYY-MM-DD/CREATED.parquet`."""
        return self.state_dir / "features"

    @property
    def champions_dir(self) -> Path:
        """Exported model versions, one folder each: booster.txt, manifest.json, sha256.json."""
        return self.state_dir / "champions"

    @property
    def spool_dir(self) -> Path:
        """What the forecast API hands to the ledger, until the collect deployment takes it."""
        return self.state_dir / "spool"

    @property
    def replicas_dir(self) -> Path:
        """What the forecast API's replicas count and serve, for each other; emptied at start."""
        return self.state_dir / "replicas"

    @property
    def overrides_dir(self) -> Path:
        """Overrides that are not published yet, a file each, so that every replica lists them."""
        return self.state_dir / "overrides"

    @property
    def published_dir(self) -> Path:
        """Parquet that replicas and pages read: history, accuracy, decisions, exceptions."""
        return self.state_dir / "published"

    @property
    def logs_dir(self) -> Path:
        """Logs of the local stack's processes."""
        return self.state_dir / "logs"

    @property
    def prefect_api_url(self) -> str:
        return f"http://{self.host}:{self.prefect_port}/api"

    @property
    def prefect_ui_url(self) -> str:
        return f"http://{self.host}:{self.prefect_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{self.host}:{self.mlflow_port}"

    @property
    def serve_url(self) -> str:
        return f"http://{self.host}:{self.serve_port}"

    @property
    def ray_dashboard_url(self) -> str:
        return f"http://{self.host}:{self.ray_dashboard_port}"

    @property
    def api_keys_path(self) -> Path:
        """Hashes of the API keys; while it is not there, the API answers this machine alone."""
        return self.state_dir / "api_keys.json"

    @property
    def operator_key_path(self) -> Path:
        """The key that this machine's own tools use, mode 0600; made with the first API key."""
        return self.state_dir / "operator.key"

    @property
    def ray_token_path(self) -> Path:
        """Token that Ray's dashboard API asks for; created by the stack, mode 0600."""
        return self.state_dir / "ray.token"


def command_settings() -> Settings:
    """The settings of a command line, which ends with 2 and a sentence per setting that is wrong.

    Raises SystemExit.
    """
    try:
        return Settings()
    except ValidationError as error:
        said = [_sentence(str(e["loc"][0]), e["input"], e["msg"]) for e in error.errors()]
    except SettingsError as error:  # a list that is not JSON
        said = [f'A setting can\'t be read ({error}); lists are JSON, such as ["12-25", "01-01"].']
    print("\n".join(said), file=sys.stderr)
    sys.exit(2)


def _sentence(name: str, got: object, said: str) -> str:
    default = Settings.model_fields[name].default
    example = default[0] if isinstance(default, tuple) else default
    for pydantic in ("Value error, it ", "Input ", "String "):
        said = said.replace(pydantic, "it ", 1)
    return (
        f"SHELFCAST_{name.upper()} has {got!r}: {said}, such as {example}; "
        "put it right in the environment or in .env."
    )
