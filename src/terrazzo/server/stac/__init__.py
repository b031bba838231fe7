"""Routes of the STAC API: collections and items, which openEO shares."""
