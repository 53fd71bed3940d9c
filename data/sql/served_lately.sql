-- Answers of the newest requests, without what-ifs.
SELECT store_id, item_id, step, issued_at, request_id
FROM served_forecasts
WHERE NOT what_if AND request_id IN (
    SELECT request_id FROM served_forecasts WHERE NOT what_if
    GROUP BY request_id ORDER BY max(issued_at) DESC, request_id LIMIT $requests
)
