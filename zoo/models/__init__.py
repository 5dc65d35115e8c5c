"""Models: their weights, and what is done with a model beside training it."""
