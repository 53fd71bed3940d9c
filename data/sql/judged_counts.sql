-- Where the rows of `judged` go; every row goes to exactly one place.
SELECT
    count(*) FILTER (exclusion IS NULL AND len(reasons) = 0 AND NOT unchanged) AS rows_published,
    count(*) FILTER (exclusion IS NOT NULL) AS rows_excluded,
    count(*) FILTER (len(reasons) > 0) AS rows_quarantined,
    count(*) FILTER (exclusion IS NULL AND len(reasons) = 0 AND unchanged) AS rows_unchanged
FROM judged
