"""Pure decisions about IoT Edge: manifests, their validation, the verifier's verdict, fingerprints, a device's config.toml.

Nothing here talks to a network, imports Pulumi or an SDK; `fingerprint` reads the files it is given, `schemas` the package's own.
"""
