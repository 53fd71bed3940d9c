-- Forecasts for the days from $since on: those that batches issued, and those answered on demand
-- that no batch issued, once each, as answered last.
WITH served AS (
    SELECT DISTINCT ON (model, cutoff, store_id, item_id, ds) *
    FROM served_forecasts
    WHERE ds BETWEEN $since AND $until AND NOT what_if
    ORDER BY issued_at DESC, request_id
)
SELECT store_id, item_id, cutoff, ds, step, y_hat,
    "q0.025", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.975", model
FROM forecasts
WHERE ds BETWEEN $since AND $until
UNION ALL
SELECT s.store_id, s.item_id, s.cutoff, s.ds, s.step, s.y_hat,
    s."q0.025", s."q0.1", s."q0.25", s."q0.5", s."q0.75", s."q0.9", s."q0.975", s.model
FROM served AS s
ANTI JOIN forecasts AS f USING (model, cutoff, store_id, item_id, ds)
ORDER BY ALL
