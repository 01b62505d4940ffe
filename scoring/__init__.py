"""What goes into the scoring image, and the trainer of its model. Nothing here imports the rest of the project."""
