"""From FER2013 to a model bundle: reading the data, training, evaluation, export."""
