"""Scripts that write the reference pages of the documentation from the code."""
