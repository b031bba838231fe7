"""Ingestion: what reads each format, and how it becomes STAC items."""
