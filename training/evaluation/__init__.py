"""What a model is worth: figures with intervals, on pictures and in video, and the page that shows them."""
