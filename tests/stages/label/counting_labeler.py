class Labeler:
    revision = "1"
    classes = ("low", "high")

    def label(self, features):
        import numpy as np

        total = features.sum(axis=1)
        return np.stack([-total, total], axis=1)
