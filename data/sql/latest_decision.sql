SELECT * FROM gate_decisions WHERE gate = $gate ORDER BY rowid DESC LIMIT 1
