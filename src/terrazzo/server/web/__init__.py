"""What every route shares: addresses, bodies, pages of lists, errors, limits on who waits."""
