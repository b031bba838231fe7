"""The server: the map page, stored graphs as layers, and their tiles. Knows FastAPI; nobody else does."""
