-- Every version of the promotion plan of the days $since..$until (NULL for no bound), in the order
-- of publication.
SELECT store_id, item_id, ds, display, mailer, known_at
FROM plan
WHERE ds BETWEEN coalesce($since::DATE, '-infinity'::DATE)
             AND coalesce($until::DATE, 'infinity'::DATE)
ORDER BY rowid
