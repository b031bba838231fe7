"""`python -m terrazzo`: the command line, of just this Python."""

from terrazzo.cli import main

main()
