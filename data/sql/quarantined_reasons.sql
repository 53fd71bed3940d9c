-- Quarantined rows per reason, with the first and the last delivery that brought some.
SELECT q.reason, count(*) AS n, min(l.as_of) AS first_seen, max(l.as_of) AS last_seen
FROM quarantine AS q
JOIN (
    SELECT batch_id, max(as_of) AS as_of FROM ingest_log WHERE status = 'published' GROUP BY ALL
) AS l USING (batch_id)
GROUP BY q.reason
ORDER BY q.reason
