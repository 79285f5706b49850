-- One version of an annotation.
INSERT INTO annotation (id, version, bed, stay, start_at, end_at, signal, label, note, withdrawn, by, at)
VALUES (%(id)s, %(version)s, %(bed)s, %(stay)s, %(start)s, %(end)s, %(signal)s, %(label)s, %(note)s,
    %(withdrawn)s, %(by)s, %(at)s)
