-- What was answered to one request: an id that a client sent again has an answer for each time.
SELECT * FROM served_forecasts WHERE request_id = $request_id
ORDER BY issued_at, model, cutoff, store_id, item_id, ds
