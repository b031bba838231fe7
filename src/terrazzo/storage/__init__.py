"""Readers and writers: the only place that knows files of pixels, and the gate before them."""
