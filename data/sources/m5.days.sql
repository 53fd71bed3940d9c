-- First and last day of the wide M5 table: its newest column is d_1913 or d_1941.
SELECT min(date)::DATE AS since, max(date)::DATE AS until
FROM read_csv($path || '/calendar.csv', header = true, delim = ',')
WHERE d IN (
    SELECT column_name
    FROM (DESCRIBE SELECT * FROM read_csv($path || '/sales_train_*.csv', header = true, delim = ','))
)
