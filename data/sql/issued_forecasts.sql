SELECT * FROM forecasts WHERE cutoff >= $since ORDER BY model, cutoff, store_id, item_id, ds
