"""Benchmarks: run by `vigil bench`, figures kept in docs/performance.md."""
