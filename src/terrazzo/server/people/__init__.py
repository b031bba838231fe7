"""Routes and rules of those who ask: log-in, tokens, files, rights."""
