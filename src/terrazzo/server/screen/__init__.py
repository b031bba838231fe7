"""What screens ask, over HTTP: layers, computed with the rights of whoever asks."""
