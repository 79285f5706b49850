"""Faults under load, with a count of what was published, stored, alerted, lost and doubled."""
