"""Structures that are fitted without labels, one kind a file. Importing any module here registers
all kinds, without torch, in the order in which messages and the JSON schema name them."""

# isort: off
import distill.labelers.structure.pca
import distill.labelers.structure.kmeans
import distill.labelers.structure.som  # noqa: F401
