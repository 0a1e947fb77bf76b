"""Finished evaluations written where people follow experiments: TensorBoard and MLflow. The same
numbers as in `evaluation.json`, of each method its training epoch by epoch and its measures."""
