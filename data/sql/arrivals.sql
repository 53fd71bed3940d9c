-- Every version of every sales row, as often as it was revised (version 1 is the first), with the
-- day whose cycle it arrived for. The cycle of a day runs at 06:00 of the next one in $timezone, or
-- at the first delivery of the day where that comes later on that date: the retailer's usual hour.
-- known_at is drawn forward to 06:00 where it lies between the two. A known_at of just the next
-- morning may only be counted as such (land.sql): then the batch says when the row came.
--
-- Of two things the time of loading doesn't say when they were known, and they keep their day: what
-- else comes of a day on the date of its first delivery at such an hour; and a history that was
-- loaded at once, days that came on the date on which the warehouse began, or more than
-- $history_days on another one.
WITH delivered AS (
    SELECT
        s.*, s.rowid AS nr,
        ((ds + 1) + TIME '06:00') AT TIME ZONE $timezone AS morning,
        CASE WHEN known_at = morning THEN greatest(known_at, as_of) ELSE known_at END AS came
    FROM sales AS s
    JOIN ingest_log USING (batch_id)
    WHERE status = 'published'
),
first_seen AS (
    SELECT
        ds, morning, min(came) AS came, (min(came) AT TIME ZONE $timezone)::DATE AS came_on
    FROM delivered
    GROUP BY ds, morning
),
history AS (
    SELECT came_on
    FROM first_seen
    WHERE came_on > ds + 1
    GROUP BY came_on
    HAVING count(*) > $history_days OR came_on = (
        SELECT (min(as_of) AT TIME ZONE $timezone)::DATE
        FROM ingest_log
        WHERE status = 'published'
    )
),
day AS (
    SELECT
        *,
        CASE WHEN came_on = ds + 1 THEN greatest(came, morning) ELSE morning END AS cycle,
        came > morning AND (came_on = ds + 1 OR came_on IN (FROM history)) AS is_usual
    FROM first_seen
),
version AS (
    SELECT
        s.nr, s.store_id, s.item_id, s.ds, s.y, s.price, s.known_at, s.came,
        row_number() OVER (PARTITION BY s.store_id, s.item_id, s.ds ORDER BY s.nr) AS version,
        day.is_usual AND day.came_on = (s.came AT TIME ZONE $timezone)::DATE AS with_its_day
    FROM delivered AS s
    JOIN day USING (ds)
),
arrival AS (
    SELECT
        version.*,
        CASE
            WHEN version = 1 AND with_its_day THEN version.ds
            ELSE greatest(version.ds, coalesce(
                day.ds,
                ((version.came AT TIME ZONE $timezone) - INTERVAL '6 hours 1 microsecond')::DATE
            ))
        END AS arrives
    FROM version
    ASOF LEFT JOIN day ON version.came <= day.cycle
)
SELECT
    store_id, item_id, ds, y, price, NULL::VARCHAR AS exclusion,
    least(known_at, ((arrives + 1) + TIME '06:00') AT TIME ZONE $timezone) AS known_at,
    version, arrives
FROM arrival
ORDER BY nr
