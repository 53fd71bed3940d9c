-- Takes away the newest decision of $gate about $subject, for the one that takes its place.
DELETE FROM gate_decisions
WHERE rowid = (
    SELECT max(rowid) FROM gate_decisions
    WHERE gate = $gate AND measurements ->> 'subject' = $subject
)
