-- Your own Parquet file or glob, $path: columns store_id, item_id, ds, y and, if you have them,
-- price, exclusion and known_at.
SELECT * FROM read_parquet($path, union_by_name = true)
