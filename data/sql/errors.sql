SELECT * FROM error_events ORDER BY last_seen DESC, kind, detail
