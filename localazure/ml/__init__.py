"""Azure Machine Learning's data plane: discovery, artifacts, blobs, models, images and the image builds behind them."""

from localazure.ml.service import MlService

__all__ = ["MlService"]
