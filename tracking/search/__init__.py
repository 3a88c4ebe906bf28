"""What is told of a search: in MLflow, on a page, on the screen."""
