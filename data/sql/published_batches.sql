SELECT batch_id FROM ingest_log WHERE status = 'published' AND as_of <= $as_of ORDER BY batch_id
