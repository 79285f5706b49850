-- Begin a run.
INSERT INTO run (id, source, speed, pack, pack_version)
VALUES (%(id)s, %(source)s, %(speed)s, %(pack)s, %(pack_version)s)
