"""What screens ask of the computing side: layers, tiles, numbers, pictures. No web, no Jupyter."""
