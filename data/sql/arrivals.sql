-- Every version of every sales row, as often as it was revised (version 1 is the first), with the
-- day by whose morning it had arrived: 06:00 of the next day in $timezone.
--
-- Two things were known on the morning after their day whatever the clock said: what came first on
-- that date, but some hours later, because that is when the retailer delivers; and the days of a
-- history that was loaded at once, because its load says nothing of when they were known: those that
-- came on the date on which the warehouse began, or more than $history_days on another one.
WITH day AS (
    SELECT
        ds,
        ((ds + 1) + TIME '06:00') AT TIME ZONE $timezone AS morning,
        min(known_at) AS came,
        (min(known_at) AT TIME ZONE $timezone)::DATE AS came_on
    FROM sales
    GROUP BY ds
),
history AS (
    SELECT came_on
    FROM day
    WHERE came_on > ds + 1
    GROUP BY came_on
    HAVING count(*) > $history_days OR came_on = (
        SELECT (min(as_of) AT TIME ZONE $timezone)::DATE
        FROM ingest_log
        WHERE status = 'published'
    )
),
usual AS (
    SELECT *, came > morning AND (came_on = ds + 1 OR came_on IN (FROM history)) AS is_usual
    FROM day
),
version AS (
    SELECT
        s.rowid AS nr, s.store_id, s.item_id, s.ds, s.y, s.price, s.known_at,
        row_number() OVER (PARTITION BY s.store_id, s.item_id, s.ds ORDER BY s.rowid) AS version,
        u.morning,
        u.is_usual AND u.came_on = (s.known_at AT TIME ZONE $timezone)::DATE AS with_its_day
    FROM sales AS s
    JOIN usual AS u USING (ds)
),
known AS (
    SELECT * REPLACE (
        CASE WHEN version = 1 AND with_its_day THEN morning ELSE known_at END AS known_at
    )
    FROM version
)
SELECT
    store_id, item_id, ds, y, price, NULL::VARCHAR AS exclusion, known_at, version,
    greatest(
        ds, ((known_at AT TIME ZONE $timezone) - INTERVAL '6 hours 1 microsecond')::DATE
    ) AS arrives
FROM known
ORDER BY nr
