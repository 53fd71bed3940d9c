-- What each household bought per store, item and day in The Complete Journey ($path), of the items
-- $items, departments; household is a number from 0 on that says nothing outside.
WITH line AS (
    SELECT
        dense_rank() OVER (ORDER BY household_id) - 1 AS household,
        store_id::VARCHAR AS store_id,
        department AS item_id,
        ((transaction_timestamp AT TIME ZONE 'UTC') AT TIME ZONE $timezone)::DATE AS ds,
        quantity,
        sales_value,
        retail_disc
    FROM read_parquet($path || '/transactions.parquet')
    JOIN read_parquet($path || '/products.parquet') USING (product_id)
    WHERE product_category IS DISTINCT FROM 'COUPON/MISC ITEMS'
      AND list_contains($items, department)
)
SELECT
    household, store_id, item_id, ds,
    sum(quantity)::DOUBLE AS y,
    sum(sales_value::DECIMAL(12, 2))::DOUBLE AS amount,
    sum(retail_disc::DECIMAL(12, 2))::DOUBLE AS discount
FROM line
GROUP BY ALL
ORDER BY ALL
