"""Profiles as the server keeps them: read, stored as they came, indexed, asked for."""
