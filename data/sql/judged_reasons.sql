-- Rows of `judged` per rule of exclusion and reason of quarantine.
SELECT reason, count(*) AS n
FROM (
    SELECT exclusion AS reason FROM judged WHERE exclusion IS NOT NULL
    UNION ALL
    SELECT unnest(reasons) FROM judged
)
GROUP BY reason
ORDER BY n DESC, reason
