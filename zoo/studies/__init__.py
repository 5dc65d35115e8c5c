"""Studies: many trainings that answer one question, a search for settings or a matrix of models and data sets."""
