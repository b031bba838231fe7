"""Writers of results: images, arrays, pictures and tables; all of them all-or-nothing."""
