-- End it before its time.
UPDATE break_glass SET ended_by = %(by)s
WHERE id = %(id)s AND ended_by = '' AND until_at > now()
