-- Gate decisions, newest first.
SELECT * FROM gate_decisions ORDER BY rowid DESC
