"""The console: wall, bed page, sign-in. Live data from the broker, history from the database."""
