-- The version of each sales row that was the newest one known at $as_of.
-- Two versions known at the same instant: the one published later (rowid) wins.
SELECT store_id, item_id, ds, y, price, known_at
FROM sales
WHERE known_at <= $as_of
QUALIFY row_number() OVER (
    PARTITION BY store_id, item_id, ds ORDER BY known_at DESC, rowid DESC
) = 1
ORDER BY store_id, item_id, ds
