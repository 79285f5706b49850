-- Keep an input that is no reading; one that is there already changes nothing.
INSERT INTO input (scope, kind, received_at, body) VALUES (%s, %s, %s, %b) ON CONFLICT DO NOTHING
