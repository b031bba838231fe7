"""Routes of the openEO API that belong to no other package."""
