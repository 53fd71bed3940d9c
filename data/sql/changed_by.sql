-- The last batch that says something else of a row than the published batch $batch_id does; NULL
-- when all that it says is the newest still, and when it is not published.
WITH said AS (
    SELECT store_id, item_id, ds, y, price
    FROM landing
    ANTI JOIN quarantine USING (batch_id, store_id, item_id, ds)
    WHERE batch_id = $batch_id AND exclusion IS NULL
        AND batch_id IN (SELECT batch_id FROM ingest_log WHERE status = 'published')
),
newest AS (
    SELECT
        store_id, item_id, ds,
        max_by({'y': y, 'price': price, 'batch_id': batch_id, 'nr': rowid}, (known_at, rowid)) AS v
    FROM sales
    SEMI JOIN said USING (store_id, item_id, ds)
    GROUP BY ALL
)
SELECT max_by(v.batch_id, v.nr)
FROM said
JOIN newest USING (store_id, item_id, ds)
WHERE v.y IS DISTINCT FROM said.y OR v.price IS DISTINCT FROM said.price
