"""Profiles in the formats that others read: pure, for whoever has stacks and a format to write them in."""
