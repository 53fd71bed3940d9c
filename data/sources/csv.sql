-- Your own CSV file or glob, $path: separated by commas, UTF-8, a header with store_id, item_id,
-- ds, y and, if you have them, price, exclusion and known_at (with an offset, else UTC).
-- Everything is read as text; a cell that isn't what its column asks for becomes NULL, and where the
-- landing contract asks for it, its row is quarantined instead of failing the whole file.
-- The dialect is fixed rather than guessed: a guess can read a cut-off file as something else.
SELECT *
FROM read_csv(
    $path, header = true, all_varchar = true, union_by_name = true,
    delim = ',', quote = '"', escape = '"', comment = '', skip = 0
)
