-- When models were trained since $since: each training asks the promotion gate once.
SELECT decided_at FROM gate_decisions
WHERE gate = 'promote' AND decided_at >= $since
ORDER BY decided_at DESC
