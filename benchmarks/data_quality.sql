-- Measured on The Complete Journey as it is installed: $path is the folder of its Parquet files.
WITH line AS (
    SELECT
        t.*, p.department, p.product_category, p.product_id IS NULL AS orphan,
        t.transaction_timestamp::DATE AS utc_day,
        ((t.transaction_timestamp AT TIME ZONE 'UTC') AT TIME ZONE 'America/New_York')::DATE AS day
    FROM read_parquet($path || '/transactions.parquet') AS t
    LEFT JOIN read_parquet($path || '/products.parquet') AS p USING (product_id)
),
totals AS (
    SELECT
        count(*) AS lines,
        count(DISTINCT household_id) AS households,
        count(DISTINCT store_id) AS stores,
        count(DISTINCT day) AS days,
        100.0 * count(*) FILTER (utc_day <> day) / count(*) AS lines_on_wrong_day_if_utc,
        100.0 * sum(quantity) FILTER (department IN ('FUEL', 'MISCELLANEOUS')) / sum(quantity)
            AS quantity_that_is_not_units,
        count(*) FILTER (quantity = 0) AS lines_without_quantity,
        count(*) FILTER (sales_value = 0) AS lines_without_sales_value,
        count(*) FILTER (orphan) AS lines_without_product_record,
        count(*) FILTER (quantity < 0 OR sales_value < 0) AS lines_of_returns
    FROM line
),
weeks AS (
    SELECT
        count(*) FILTER (local_weeks > 1) AS days_in_two_weeks_if_local,
        (
            SELECT count(*)
            FROM (SELECT utc_day FROM line GROUP BY utc_day HAVING count(DISTINCT week) > 1)
        ) AS days_in_two_weeks_if_utc
    FROM (SELECT day, count(DISTINCT week) AS local_weeks FROM line GROUP BY day)
),
partial AS (
    SELECT count(*) FILTER (n < 7) AS partial_weeks
    FROM (SELECT week, count(DISTINCT day) AS n FROM line GROUP BY week)
),
products AS (
    SELECT
        count(*) AS products,
        count(DISTINCT product_category) AS categories,
        count(*) FILTER (product_category IS NULL) AS products_without_category
    FROM read_parquet($path || '/products.parquet')
),
shared AS (
    SELECT count(*) AS categories_in_several_departments
    FROM (
        SELECT product_category
        FROM read_parquet($path || '/products.parquet')
        WHERE product_category IS NOT NULL
        GROUP BY ALL HAVING count(DISTINCT department) > 1
    )
),
promotions AS (
    SELECT sum(n) AS promotion_rows, count(*) FILTER (n > 1) AS repeated_promotion_keys
    FROM (
        SELECT count(*) AS n
        FROM read_parquet($path || '/promotions.parquet')
        GROUP BY product_id, store_id, week
    )
),
pairs AS (
    SELECT store_id, product_category, count(DISTINCT day) AS sold
    FROM line WHERE quantity > 0 GROUP BY ALL
),
sparse AS (
    SELECT
        count(*) AS store_category_pairs,
        count(*) FILTER (sold >= 100) AS pairs_sold_on_100_days,
        median(sold) AS median_days_with_a_sale
    FROM pairs
)
UNPIVOT (
    SELECT COLUMNS(*)::DOUBLE
    FROM totals, weeks, partial, products, shared, promotions, sparse
)
ON COLUMNS(*) INTO NAME metric VALUE value
