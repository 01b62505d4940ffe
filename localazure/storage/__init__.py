"""Blob storage for the services of the local Azure: files on disk, named in the database, reached by signed addresses."""

from localazure.storage.service import BlobService

__all__ = ["BlobService"]
