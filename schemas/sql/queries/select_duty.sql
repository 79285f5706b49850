-- Who is on duty now, in the order in which they were entered.
SELECT unit, role, username FROM duty WHERE during @> %(now)s::timestamptz ORDER BY id
