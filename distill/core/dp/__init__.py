"""Accounting of differential privacy, in numpy alone: what noisy votes cost, and what a budget is
enough for."""
