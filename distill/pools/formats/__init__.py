"""Formats of pool files, one class in one file each; importing the package registers them.

Another format is one more such class, here or in a plugin's file (`shard_file.ShardFile`).
"""

# Messages and the job's JSON schema list formats in the order in which they are defined. This
# package is loaded before any of its modules, so whoever imports one meets the same order.
# isort: off
import distill.pools.formats.parquet
import distill.pools.formats.arrow
import distill.pools.formats.jsonl
import distill.pools.formats.csv
import distill.pools.formats.selection
import distill.pools.formats.corrected  # noqa: F401
