-- Tables of the warehouse. Timestamps are instants (UTC); ds is a business day, without a zone.

-- The raw record of every delivery. exclusion: the rule that keeps the row out of sales, or NULL;
-- copies: rows of the same key in the batch.
CREATE TABLE IF NOT EXISTS landing (
    batch_id VARCHAR, store_id VARCHAR, item_id VARCHAR, ds DATE, y DOUBLE, price DOUBLE,
    exclusion VARCHAR, copies BIGINT, known_at TIMESTAMPTZ
);

-- Bitemporal and append-only: a revision of (store_id, item_id, ds) is a later row.
CREATE TABLE IF NOT EXISTS sales (
    store_id VARCHAR, item_id VARCHAR, ds DATE, y DOUBLE, price DOUBLE, known_at TIMESTAMPTZ,
    batch_id VARCHAR
);

-- Promotion plan: how many products of the item are on display or in the mailer on a day.
CREATE TABLE IF NOT EXISTS plan (
    store_id VARCHAR, item_id VARCHAR, ds DATE, display DOUBLE, mailer DOUBLE,
    known_at TIMESTAMPTZ, batch_id VARCHAR
);

CREATE TABLE IF NOT EXISTS quarantine (
    batch_id VARCHAR, store_id VARCHAR, item_id VARCHAR, ds DATE, y DOUBLE, price DOUBLE,
    known_at TIMESTAMPTZ, reason VARCHAR
);

-- One row per publication or rejection of a batch; status: published | rejected.
CREATE TABLE IF NOT EXISTS ingest_log (
    batch_id VARCHAR, source VARCHAR, since DATE, until DATE, as_of TIMESTAMPTZ,
    rows_landed BIGINT, rows_published BIGINT, rows_excluded BIGINT, rows_quarantined BIGINT,
    status VARCHAR
);

CREATE TABLE IF NOT EXISTS contract_results (
    checked_at TIMESTAMPTZ, subject VARCHAR, contract VARCHAR, check_name VARCHAR,
    outcome VARCHAR, measured DOUBLE, expected VARCHAR
);

CREATE TABLE IF NOT EXISTS forecasts (
    store_id VARCHAR, item_id VARCHAR, cutoff DATE, ds DATE, step INTEGER, y_hat DOUBLE,
    "q0.025" DOUBLE, "q0.1" DOUBLE, "q0.25" DOUBLE, "q0.5" DOUBLE, "q0.75" DOUBLE,
    "q0.9" DOUBLE, "q0.975" DOUBLE,
    model VARCHAR, snapshot_id VARCHAR, feature_service VARCHAR, issued_at TIMESTAMPTZ
);

-- How the model forecasts, such as lightgbm or seasonal naive; NULL in rows from before it was kept.
ALTER TABLE forecasts ADD COLUMN IF NOT EXISTS method VARCHAR;

-- Those of series that no training chose, by what is like them, which method names. Apart, because
-- models are judged and compared on the series that were chosen: for whoever plans from the
-- warehouse. No flow reads them, so that they are neither scored nor published nor issued again.
CREATE TABLE IF NOT EXISTS cold_forecasts AS FROM forecasts LIMIT 0;

CREATE TABLE IF NOT EXISTS scores (
    scored_at TIMESTAMPTZ, model VARCHAR, cutoff DATE, level VARCHAR, lead_week INTEGER,
    metric VARCHAR, value DOUBLE, n BIGINT
);

-- measurements: a JSON object.
CREATE TABLE IF NOT EXISTS gate_decisions (
    decided_at TIMESTAMPTZ, gate VARCHAR, outcome VARCHAR, reasons VARCHAR[], measurements VARCHAR
);

-- Trainings, from the moment they begin: one that fails has cost as much and counts as much.
CREATE TABLE IF NOT EXISTS trainings (started_at TIMESTAMPTZ);

-- Forecasts answered on demand, once per request; those of what_if have changed inputs.
CREATE TABLE IF NOT EXISTS served_forecasts (
    store_id VARCHAR, item_id VARCHAR, cutoff DATE, ds DATE, step INTEGER, y_hat DOUBLE,
    "q0.025" DOUBLE, "q0.1" DOUBLE, "q0.25" DOUBLE, "q0.5" DOUBLE, "q0.75" DOUBLE,
    "q0.9" DOUBLE, "q0.975" DOUBLE,
    model VARCHAR, snapshot_id VARCHAR, feature_service VARCHAR, issued_at TIMESTAMPTZ,
    request_id VARCHAR, what_if BOOLEAN
);
ALTER TABLE served_forecasts ADD COLUMN IF NOT EXISTS method VARCHAR;

-- Spool files that were taken in, by content: a file is taken once. torn: lines cut off by a kill;
-- lost: records that a full disk or memory kept out of this file and of those before it.
CREATE TABLE IF NOT EXISTS spool_files (
    sha256 VARCHAR PRIMARY KEY, name VARCHAR, collected_at TIMESTAMPTZ,
    records BIGINT, torn BIGINT, lost BIGINT
);

-- Spooled records that have no table of their own (overrides of planners); record: a JSON object.
CREATE TABLE IF NOT EXISTS spool_records (kind VARCHAR, spooled_at TIMESTAMPTZ, record VARCHAR);

-- What went wrong, one row per kind and place, with who looks at it and where the runbook says how.
CREATE TABLE IF NOT EXISTS error_events (
    kind VARCHAR, detail VARCHAR, first_seen TIMESTAMPTZ, last_seen TIMESTAMPTZ, count BIGINT,
    owner VARCHAR, next_step VARCHAR, PRIMARY KEY (kind, detail)
);

-- Scores of forecasts, by the actual that they met. Append-only: a revision adds a row. state:
-- provisional, or final once the day is old enough (the setting maturity_days).
CREATE TABLE IF NOT EXISTS forecast_scores (
    scored_at TIMESTAMPTZ, model VARCHAR, cutoff DATE, store_id VARCHAR, item_id VARCHAR, ds DATE,
    step INTEGER, state VARCHAR, y DOUBLE, y_hat DOUBLE,
    "q0.025" DOUBLE, "q0.1" DOUBLE, "q0.25" DOUBLE, "q0.5" DOUBLE, "q0.75" DOUBLE,
    "q0.9" DOUBLE, "q0.975" DOUBLE,
    scaled_error DOUBLE, pinball DOUBLE, volume DOUBLE, promoted BOOLEAN
);
