"""The words and shapes everything else speaks: vitals, wire messages, topics, alerts, SQL.

Pure: imports nothing of ours and does no I/O.
"""
