"""Which passages of a text stand word for word in what a model was trained on, and where."""
