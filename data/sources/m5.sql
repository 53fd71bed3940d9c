-- M5 (Walmart, daily sales of 3,049 products in 10 stores): $path is the folder of the three official
-- files sales_train_evaluation.csv (or sales_train_validation.csv: one of the two), calendar.csv
-- and sell_prices.csv. An item is its department and itself, `FOODS_3|FOODS_3_090`.
--
-- The wide table turns long; days without a sale have no row, which is how a day without a sale is
-- written here, so that zeros before an item was sold at all are no history.
WITH wide AS (
    SELECT * FROM read_csv($path || '/sales_train_*.csv', header = true, delim = ',')
),
sold AS (
    SELECT store_id, dept_id, item_id, d, units
    FROM (UNPIVOT wide ON COLUMNS('^d_\d+$') INTO NAME d VALUE units)
    WHERE units > 0
),
calendar AS (
    SELECT d, date::DATE AS ds, wm_yr_wk
    FROM read_csv($path || '/calendar.csv', header = true, delim = ',')
)
SELECT
    sold.store_id,
    dept_id || '|' || sold.item_id AS item_id,
    ds,
    units::DOUBLE AS y,
    sell_price AS price
FROM sold
JOIN calendar USING (d)
LEFT JOIN read_csv($path || '/sell_prices.csv', header = true, delim = ',') AS prices
    ON prices.store_id = sold.store_id
    AND prices.item_id = sold.item_id
    AND prices.wm_yr_wk = calendar.wm_yr_wk
