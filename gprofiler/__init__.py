"""`gprofiler` by the names that start scripts of the field use: `python gprofiler/main.py`, `python -m gprofiler`.

The agent itself is the package `agent`.
"""
