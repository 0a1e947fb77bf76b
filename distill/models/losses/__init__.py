"""The losses that come with distill, one class a file. Importing any of them registers all, without
torch, in the order in which messages and the JSON schema name them."""

# isort: off
import distill.models.losses.kl
import distill.models.losses.reverse_kl
import distill.models.losses.jensen_shannon
import distill.models.losses.decoupled_kl
import distill.models.losses.cross_entropy
import distill.models.losses.binary_cross_entropy
import distill.models.losses.mse
import distill.models.losses.cosine
import distill.models.losses.custom  # noqa: F401
