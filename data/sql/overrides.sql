-- Overrides that were collected, newest first, with the units sold on their days as far as known.
WITH taken AS (
    SELECT
        record ->> 'override_id' AS override_id,
        record ->> 'store_id' AS store_id,
        record ->> 'item_id' AS item_id,
        (record ->> 'since')::DATE AS since,
        (record ->> 'until')::DATE AS until,
        (record ->> 'units')::DOUBLE AS units,
        record ->> 'reason' AS reason,
        (record ->> 'expires_at')::TIMESTAMPTZ AS expires_at,
        record ->> 'author' AS author,
        (record ->> 'created_at')::TIMESTAMPTZ AS created_at,
        (record ->> 'baseline')::DOUBLE AS baseline
    FROM spool_records
    WHERE kind = 'override'
)
SELECT * FROM taken ORDER BY created_at DESC, override_id
