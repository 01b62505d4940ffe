"""What the command line shows. The commands are in `localazure/__main__.py`."""
