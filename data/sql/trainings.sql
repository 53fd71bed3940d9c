-- When trainings began since $since, whatever came of them.
SELECT started_at FROM trainings
WHERE started_at >= $since
ORDER BY started_at DESC
