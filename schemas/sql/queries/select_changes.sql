-- What was changed in care between two times, newest first.
SELECT at, by, what, detail FROM care_change WHERE at >= %(start)s AND at < %(end)s
ORDER BY id DESC LIMIT 2000
