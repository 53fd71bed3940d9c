-- Figures of each model at the newest cutoff whose whole horizon is over, as last scored.
SELECT model, cutoff, metric, arg_max(value, scored_at) AS value
FROM scores
WHERE level = 'all' AND cutoff = (SELECT max(cutoff) FROM scores WHERE level = 'all')
GROUP BY ALL
ORDER BY model, metric
