-- Every row of a landed batch with its verdict: excluded by rule, quarantined with reasons, or
-- good, and then whether the version known before it says the same.
WITH judged AS (
    SELECT
        landing.*,
        CASE WHEN exclusion IS NULL
            THEN list_filter([/*reasons*/ NULL], lambda reason: reason IS NOT NULL)
            ELSE []
        END AS reasons
    FROM landing
    WHERE batch_id = $batch_id
),
before AS (
    -- the version of the row that was known when this one became known
    SELECT
        g.store_id, g.item_id, g.ds,
        max_by({'y': s.y, 'price': s.price}, (s.known_at, s.rowid)) AS version
    FROM judged AS g
    JOIN sales AS s USING (store_id, item_id, ds)
    WHERE g.exclusion IS NULL AND len(g.reasons) = 0 AND s.known_at <= g.known_at
    GROUP BY ALL
)
SELECT
    judged.*,
    before.version IS NOT NULL
        AND before.version.y IS NOT DISTINCT FROM judged.y
        AND before.version.price IS NOT DISTINCT FROM judged.price AS unchanged
FROM judged
LEFT JOIN before USING (store_id, item_id, ds)
