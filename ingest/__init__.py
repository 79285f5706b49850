"""From raw device messages to judged readings, alert events and stored rows."""
