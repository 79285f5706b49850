"""Synthetic patients, faults, and replay of recordings, published as a device would."""
