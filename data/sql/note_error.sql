-- $whole: count is all there is, not what came on top.
INSERT INTO error_events
VALUES ($kind, $detail, $first_seen, $last_seen, $count, $owner, $next_step)
ON CONFLICT (kind, detail) DO UPDATE SET
    first_seen = least(first_seen, excluded.first_seen),
    last_seen = greatest(last_seen, excluded.last_seen),
    count = CASE WHEN $whole THEN excluded.count ELSE count + excluded.count END,
    owner = excluded.owner,
    next_step = excluded.next_step
