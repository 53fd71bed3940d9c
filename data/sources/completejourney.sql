-- The Complete Journey (84.51 degrees): grocery sales of 2017, lines of baskets summed to
-- store x item x business day. $path is the folder of the Parquet files.
--
-- Timestamps are naive and in UTC; the stores' day is that of $timezone. Taken as they stand they
-- put 17 % of the lines on the wrong day; converted, every `week` runs from Monday to Sunday.
WITH department_rule (department, rule) AS (
    -- Rules, not clipping: rows that one of them names stay in the landing table with its reason.
    VALUES
        ('FUEL', 'quantity is not units: FUEL'),
        ('MISCELLANEOUS', 'quantity is not units: MISCELLANEOUS'),
        ('COUPON', 'not merchandise: COUPON'),
        ('CNTRL/STORE SUP', 'not merchandise: CNTRL/STORE SUP'),
        ('POSTAL CENTER', 'not merchandise: POSTAL CENTER'),
        ('PROD-WHS SALES', 'not merchandise: PROD-WHS SALES'),
        ('TOYS', 'not merchandise: TOYS'),
        ('ELECT &PLUMBING', 'not merchandise: ELECT &PLUMBING'),
        ('PHOTO & VIDEO', 'not merchandise: PHOTO & VIDEO'),
        ('AUTOMOTIVE', 'not merchandise: AUTOMOTIVE'),
        ('GM MERCH EXP', 'not merchandise: GM MERCH EXP'),
        ('RESTAURANT', 'not merchandise: RESTAURANT')
),
product AS (
    SELECT
        p.product_id,
        -- An excluded category is an item of its own at every grain, so that its units are
        -- never added to those of the department that it hides in.
        CASE
            WHEN $grain = 'category' OR p.product_category = 'COUPON/MISC ITEMS'
            THEN p.department || '|' || coalesce(p.product_category, 'NO CATEGORY')
            ELSE p.department
        END AS item_id,
        coalesce(
            r.rule,
            CASE WHEN p.product_category = 'COUPON/MISC ITEMS'
            THEN 'not merchandise: category COUPON/MISC ITEMS' END
        ) AS exclusion
    FROM read_parquet($path || '/products.parquet') AS p
    LEFT JOIN department_rule AS r USING (department)
),
line AS (
    SELECT
        store_id, product_id, quantity, sales_value,
        ((transaction_timestamp AT TIME ZONE 'UTC') AT TIME ZONE $timezone)::DATE AS ds
    FROM read_parquet($path || '/transactions.parquet')
    -- One local day more on both sides: cut roughly here, where the reader can use it.
    WHERE transaction_timestamp >= coalesce($since::DATE - 1, '-infinity'::DATE)
      AND transaction_timestamp < coalesce($until::DATE + 2, 'infinity'::DATE)
)
SELECT
    store_id::VARCHAR AS store_id,
    coalesce(item_id, 'NO PRODUCT RECORD') AS item_id,
    ds,
    sum(quantity)::DOUBLE AS y,
    -- summed as cents: doubles would add up differently with another number of threads
    sum(sales_value::DECIMAL(12, 2)) / nullif(sum(quantity), 0) AS price,
    CASE WHEN item_id IS NULL THEN 'no product record' ELSE exclusion END AS exclusion
FROM line
LEFT JOIN product USING (product_id)
WHERE ds BETWEEN coalesce($since::DATE, '-infinity'::DATE)
             AND coalesce($until::DATE, 'infinity'::DATE)
GROUP BY ALL
