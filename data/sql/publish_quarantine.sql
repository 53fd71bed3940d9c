-- The bad rows with every reason against them, out of `judged`.
INSERT INTO quarantine
SELECT batch_id, store_id, item_id, ds, y, price, known_at, array_to_string(reasons, '; ')
FROM judged
WHERE len(reasons) > 0
