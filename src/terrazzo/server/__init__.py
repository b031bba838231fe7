"""The server: the map page, stored graphs as layers, their tiles. Only here is FastAPI known."""
