-- Consults with advice that was done and has no response yet.
SELECT id, bed FROM consult WHERE unmeasured ORDER BY changed_at LIMIT 500
