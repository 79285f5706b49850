"""The rule engine: judged readings and ticks in, alert events out. Pure."""
