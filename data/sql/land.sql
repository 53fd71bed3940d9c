-- The delivery as it came, with what only its context can say: how many rows share a key, and
-- when a row became known. History that a first load brings was known the next morning (assumed);
-- everything later became known when it was delivered, so that a late or revised row never looks
-- as if it had been known before.
INSERT INTO landing
SELECT
    $batch_id, store_id, item_id, ds, y, price, exclusion,
    count(*) OVER (PARTITION BY store_id, item_id, ds, exclusion) AS copies,
    coalesce(
        known_at,
        CASE WHEN $first_load
            THEN least(((ds + 1) + TIME '06:00') AT TIME ZONE $timezone, $as_of::TIMESTAMPTZ)
        END,
        $as_of::TIMESTAMPTZ
    ) AS known_at
FROM delivery
