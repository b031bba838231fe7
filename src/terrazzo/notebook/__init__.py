"""What people use in a notebook: code of theirs, written as functions, tried out and sent."""

from terrazzo.notebook.function import UserFunction, udf

__all__ = ["UserFunction", "udf"]
