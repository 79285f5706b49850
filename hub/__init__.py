"""The shared kernel (settings, broker, database, clock, logs) and the one composition root."""
