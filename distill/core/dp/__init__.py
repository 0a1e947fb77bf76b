"""Accounting of differential privacy, in numpy: what votes cost, what a budget is enough for."""
