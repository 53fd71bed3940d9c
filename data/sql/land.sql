-- The delivery as it came, with what only its context can say: how many rows share a key, and
-- when a row became known. Rows of days after the last one in sales, which are all of a first load,
-- count as known the next morning (or when they came, if that was earlier), however late they came:
-- nothing was forecast from such a day before it came, and its features must hold it afterwards.
-- ingest_log says when it came. Everything else became known when it was delivered, so that a late
-- or revised row of a day that was forecast from never looks as if it had been known then.
INSERT INTO landing
SELECT
    $batch_id, store_id, item_id, ds, y, price, exclusion,
    count(*) OVER (PARTITION BY store_id, item_id, ds, exclusion) AS copies,
    coalesce(
        known_at,
        CASE WHEN ds > (SELECT coalesce(max(ds), '-infinity') FROM sales)
            THEN least(((ds + 1) + TIME '06:00') AT TIME ZONE $timezone, $as_of::TIMESTAMPTZ)
        END,
        $as_of::TIMESTAMPTZ
    ) AS known_at
FROM delivery
