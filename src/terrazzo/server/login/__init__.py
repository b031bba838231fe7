"""OpenID Connect: providers, their keys, tokens, and fetching what they publish."""
