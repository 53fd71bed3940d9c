-- First and last business day in The Complete Journey.
SELECT
    ((min(transaction_timestamp) AT TIME ZONE 'UTC') AT TIME ZONE $timezone)::DATE AS since,
    ((max(transaction_timestamp) AT TIME ZONE 'UTC') AT TIME ZONE $timezone)::DATE AS until
FROM read_parquet($path || '/transactions.parquet')
