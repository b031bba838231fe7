"""The catalogue beside pgSTAC: searches over HTTP, ingestion, a million items, both at once."""
