-- The rows of a landed batch that are neither excluded nor bad.
SELECT store_id, item_id, ds, y, price
FROM landing
WHERE batch_id = $batch_id AND exclusion IS NULL AND NOT (/*bad*/ FALSE)
