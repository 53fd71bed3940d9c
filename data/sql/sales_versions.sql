-- Every version of every sales row, in the order of publication.
SELECT store_id, item_id, ds, y, price, known_at FROM sales ORDER BY rowid
