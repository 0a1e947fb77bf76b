"""What clouds and others publish, each with where it stands. Looked up in November 2026."""

from __future__ import annotations

PUTS_A_SECOND = 3_500.0
GETS_A_SECOND = 5_500.0
"""Of one partitioned prefix, at the least (Amazon S3 User Guide, *Optimizing performance*). A new
root is one partition: S3 splits it by itself under load, in 30 to 60 minutes (AWS re:Post)."""
REQUEST_SECONDS = 0.15
"""First byte of a small object: "roughly 100–200 milliseconds" (S3 *Performance design patterns*)."""
BYTES_A_SECOND = 85e6
"""Of one request: "one concurrent request for each 85–90 MB/s" (the same page)."""
LIST_KEYS = 1_000
"""Of a LIST request."""
START_SECONDS = 161.0
"""Until a pool's GPU nodes are there: four of them, one by one (NeMo Curator#1618)."""
LOSSES = {
    "none": 0.0,
    # "> 20%" a month is the worst class of the Spot Instance Advisor
    "20% a month": 0.2 / 730,
    # Google's preemptible machines live 24 hours at most (arXiv 1911.05160)
    "one a day": 1 / 24,
    # no published rate: a bad hour
    "one in three hours": 1 / 3,
}
"""Of a node in an hour."""
ROWS_A_SECOND = {
    "zero-shot by a small LLM": 40.0,
    "embedding of a page": 180.0,
    "image, ViT-B/16": 3_000.0,
    "short text, MiniLM": 25_000.0,
    "features, an MLP": 500_000.0,
}
"""Of one GPU: propella 40 and JQL 183 documents/s (FIELD_NOTES); the two middle ones are those that
`gpu_labelers` is made for; the last is no GPU's work and shows where the driver ends."""
