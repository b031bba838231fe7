"""What is wrong with user code that runs, but not as it should."""


class Unusable(Exception):
    """User code does not keep to a form; the message says how it would."""
