-- The days after $after that published sales have a row of.
SELECT DISTINCT ds
FROM sales
WHERE ds > $after
