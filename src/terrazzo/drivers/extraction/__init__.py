"""What an extraction is made of: from scenes and polygons to tables, samples and pictures."""
