-- The five means of each series at each cutoff by window functions over the dense daily grid.
WITH grid AS (
    SELECT f.store_id, f.item_id, unnest(generate_series(f.first, $until::DATE, INTERVAL 1 DAY))::DATE AS ds
    FROM (SELECT store_id, item_id, min(ds) AS first FROM sales GROUP BY ALL) AS f
),
dense AS (
    SELECT g.*, coalesce(s.y, 0) AS y FROM grid AS g LEFT JOIN sales AS s USING (store_id, item_id, ds)
),
means AS (
    SELECT store_id, item_id, ds,
        avg(y) OVER (w ROWS 6 PRECEDING) AS mean_7, avg(y) OVER (w ROWS 13 PRECEDING) AS mean_14,
        avg(y) OVER (w ROWS 27 PRECEDING) AS mean_28, avg(y) OVER (w ROWS 55 PRECEDING) AS mean_56,
        avg(y) OVER (w ROWS 83 PRECEDING) AS mean_84, stddev_pop(y) OVER (w ROWS 27 PRECEDING) AS std_28,
        lag(y, 1) OVER w AS lag_2, lag(y, 2) OVER w AS lag_3, lag(y, 3) OVER w AS lag_4,
        lag(y, 4) OVER w AS lag_5, lag(y, 5) OVER w AS lag_6, lag(y, 6) OVER w AS lag_7
    FROM dense WINDOW w AS (PARTITION BY store_id, item_id ORDER BY ds)
)
SELECT * FROM means WHERE ds IN (SELECT unnest($cutoffs::DATE[]))
