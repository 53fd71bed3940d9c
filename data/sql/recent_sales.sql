-- The newest version known at $as_of of the sales of the days from $since on.
SELECT store_id, item_id, ds, y, price
FROM sales
WHERE known_at <= $as_of AND ds >= $since
QUALIFY row_number() OVER (
    PARTITION BY store_id, item_id, ds ORDER BY known_at DESC, rowid DESC
) = 1
ORDER BY store_id, item_id, ds
