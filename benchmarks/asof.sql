-- The same point-in-time rows without a feature store: newest row not after the time asked, not
-- older than a day, and known by then.
SELECT e.store_id, e.item_id, e.event_timestamp, d.* EXCLUDE (store_id, item_id, event_timestamp),
    s.* EXCLUDE (store_id, event_timestamp, created)
FROM entities AS e
ASOF LEFT JOIN (FROM read_parquet($demand)) AS d
    ON e.store_id = d.store_id AND e.item_id = d.item_id AND e.event_timestamp >= d.event_timestamp
ASOF LEFT JOIN (FROM read_parquet($store_demand)) AS s
    ON e.store_id = s.store_id AND e.event_timestamp >= s.event_timestamp
