"""What builds of images share, whoever asks for them: the Docker engine, its log, the settings of pip, and how a push is done."""
