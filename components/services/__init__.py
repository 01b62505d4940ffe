"""Thin wrappers round what Azure offers: ARM, Azure ML, IoT Hub, the registry API. Only dynamic providers call them."""
