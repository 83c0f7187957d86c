"""Evaluation: answers of a trained model, and their scores."""
