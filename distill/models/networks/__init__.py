"""The networks that come with distill, one class a file. Importing any of them registers all,
without torch, in the order in which messages and the JSON schema name them."""

# isort: off
import distill.models.networks.linear
import distill.models.networks.mlp
import distill.models.networks.cnn
import distill.models.networks.rnn
import distill.models.networks.ngram_bag
import distill.models.networks.timm
import distill.models.networks.encoder
import distill.models.networks.static
import distill.models.networks.custom  # noqa: F401
