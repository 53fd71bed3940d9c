-- Promotion plan of The Complete Journey: how many products of an item are on display or in the
-- mailer, per store and day. Week w runs from Monday 2016-12-26 + 7 * (w - 1) to the Sunday.
--
-- Assumption (the data doesn't say when a plan was made): retailer and suppliers agree it four
-- weeks ahead, so it is known from 06:00 in $timezone on the Monday 28 days before the week's.
WITH promotion_week AS (
    SELECT
        w AS week,
        DATE '2016-12-26' + 7 * (w::INTEGER - 1) AS monday,
        ((DATE '2016-12-26' + 7 * (w::INTEGER - 1) - 28) + TIME '06:00')
            AT TIME ZONE $timezone AS known_at
    FROM range(1, 54) AS weeks (w)
),
wanted AS (
    SELECT * FROM promotion_week
    WHERE known_at > coalesce($known_after::TIMESTAMPTZ, '-infinity'::TIMESTAMPTZ)
      AND known_at <= $known_until::TIMESTAMPTZ
),
product AS (
    SELECT
        product_id,
        CASE WHEN $grain = 'category'
            THEN department || '|' || coalesce(product_category, 'NO CATEGORY')
            ELSE department
        END AS item_id
    FROM read_parquet($path || '/products.parquet')
    WHERE product_category IS DISTINCT FROM 'COUPON/MISC ITEMS'
),
promoted AS (
    -- one row per store x product x week: 12,785 of these keys are in the file more than once
    SELECT
        store_id, product_id, week,
        bool_or(display_location <> '0') AS on_display,
        bool_or(mailer_location <> '0') AS in_mailer
    FROM read_parquet($path || '/promotions.parquet')
    WHERE week BETWEEN (SELECT coalesce(min(week), 1) FROM wanted)
                   AND (SELECT coalesce(max(week), 0) FROM wanted)
    GROUP BY ALL
),
weekly AS (
    SELECT
        store_id, item_id, week,
        count(*) FILTER (on_display) AS display,
        count(*) FILTER (in_mailer) AS mailer
    FROM promoted
    JOIN product USING (product_id)
    GROUP BY ALL
)
SELECT
    store_id::VARCHAR AS store_id,
    item_id,
    monday + day::INTEGER AS ds,
    display::DOUBLE AS display,
    mailer::DOUBLE AS mailer,
    known_at
FROM weekly
JOIN wanted USING (week)
CROSS JOIN range(7) AS days (day)
