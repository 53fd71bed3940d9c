-- Checks whose newest result is a failure, if it is of $since or later.
SELECT contract || ': ' || check_name AS check_name
FROM contract_results
GROUP BY contract, check_name
HAVING arg_max(outcome, rowid) IN ('failed', 'not evaluated') AND max(checked_at) >= $since
ORDER BY ALL
