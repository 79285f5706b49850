-- Let somebody see beyond their scope for a time.
INSERT INTO break_glass (id, username, scope, reason, from_at, until_at)
VALUES (%(id)s, %(username)s, %(scope)s, %(reason)s, %(from)s, %(until)s)
