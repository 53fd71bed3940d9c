-- The good rows that say something new, out of `judged`.
INSERT INTO sales
SELECT store_id, item_id, ds, y, price, known_at, batch_id
FROM judged
WHERE exclusion IS NULL AND len(reasons) = 0 AND NOT unchanged
ORDER BY store_id, item_id, ds
