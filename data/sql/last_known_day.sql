-- The last business day that was over at $as_of in $timezone and of which sales were known then.
SELECT max(ds) AS cutoff
FROM sales
WHERE known_at <= $as_of AND ds < ($as_of::TIMESTAMPTZ AT TIME ZONE $timezone)::DATE
