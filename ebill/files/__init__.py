"""Millions of rows from a file to a file, in flat memory, and the file whole or not at all.

- `taking`  CSV, NDJSON, Parquet and Arrow, block by block
- `giving`  the same as what is written
- `kept`    what is done so far, kept beside the output, so that a run that was cut off goes on where it was
- `run`     block after block through the rules, on several threads, in order
"""
