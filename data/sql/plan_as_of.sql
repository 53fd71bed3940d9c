-- The promotion plan of the days $since..$until as it was known at $as_of.
SELECT store_id, item_id, ds, display, mailer, known_at
FROM plan
WHERE known_at <= $as_of AND ds BETWEEN $since AND $until
QUALIFY row_number() OVER (
    PARTITION BY store_id, item_id, ds ORDER BY known_at DESC, rowid DESC
) = 1
ORDER BY store_id, item_id, ds
