"""Watching runs: what runs and their workers tell of themselves, and how others read it."""
