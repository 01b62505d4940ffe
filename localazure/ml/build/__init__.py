"""How an image comes about: from what the SDK uploaded to a pushed image."""
