SELECT count(*) > 0 AS issued FROM forecasts WHERE cutoff = $cutoff AND model = $model
