-- Forecasts for the days from $since on: those that batches issued, and those answered on demand
-- that no batch issued, once each.
SELECT store_id, item_id, cutoff, ds, step, y_hat,
    "q0.025", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.975", model
FROM forecasts
WHERE ds BETWEEN $since AND $until
UNION ALL
SELECT DISTINCT ON (s.model, s.cutoff, s.store_id, s.item_id, s.ds)
    s.store_id, s.item_id, s.cutoff, s.ds, s.step, s.y_hat,
    s."q0.025", s."q0.1", s."q0.25", s."q0.5", s."q0.75", s."q0.9", s."q0.975", s.model
FROM served_forecasts AS s
ANTI JOIN forecasts AS f USING (model, cutoff, store_id, item_id, ds)
WHERE s.ds BETWEEN $since AND $until AND NOT s.what_if
ORDER BY ALL
