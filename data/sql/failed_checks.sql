-- The failed checks of each contract's newest verification, if it was at or after $since.
SELECT DISTINCT contract || ': ' || check_name AS check_name
FROM contract_results
WHERE outcome IN ('failed', 'not evaluated') AND checked_at >= $since
QUALIFY checked_at = max(checked_at) OVER (PARTITION BY contract)
