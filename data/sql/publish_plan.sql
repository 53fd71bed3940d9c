-- Plan rows that say something new; the same plan delivered again changes nothing.
INSERT INTO plan
SELECT d.store_id, d.item_id, d.ds, d.display, d.mailer, d.known_at, $batch_id
FROM delivered_plan AS d
ANTI JOIN plan AS p
    ON p.store_id = d.store_id AND p.item_id = d.item_id AND p.ds = d.ds
    AND p.known_at = d.known_at
    AND p.display IS NOT DISTINCT FROM d.display AND p.mailer IS NOT DISTINCT FROM d.mailer
ORDER BY d.store_id, d.item_id, d.ds
