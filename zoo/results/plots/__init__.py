"""Plots: figures of data, trainings and predictions."""
