-- The newest day of published sales; NULL when there are none.
SELECT max(ds) AS ds FROM sales
