"""Every kind that comes with distill. Importing this registers them, so that a job's tables can be
validated; it loads no torch."""

import distill.labelers.kinds
import distill.labelers.structure
import distill.models.losses
import distill.models.networks
import distill.pools.formats
import distill.spec.pate  # noqa: F401
