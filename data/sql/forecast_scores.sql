SELECT * FROM forecast_scores WHERE ds >= $since ORDER BY scored_at
